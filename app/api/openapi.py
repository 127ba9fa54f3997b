"""What OpenAPI says beside the routes themselves: the text of the front page, tags, and every error."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.errors import PROBLEM_JSON
from app.schemas.common import ProblemDocument

TITLE: Final = "AutomateOS"
VERSION: Final = "0.1.0"
DESCRIPTION: Final = """
Workflows that survive anything: a trigger answered `202` is stored, and its run goes on from its last finished step
whatever dies.

**First steps:** `POST /api/v1/register`, then press **Authorize** and log in with the same e-mail address and password (or
give an API key).
`POST /api/v1/workflows` saves a workflow; its `webhook_url` starts runs, and `GET /api/v1/workflows/{workflow_id}/runs`
shows what became of them. `GET /api/v1/nodes` lists what a step can be.

Times are RFC 3339 in UTC. Lists come newest first, as `{"items": […], "next_cursor": …}`. Errors are
`application/problem+json` (RFC 9457) with a stable `code`, and `errors` lists every problem of an input at once. What
another user owns answers 404.
"""
TAGS: Final = [
    {
        "name": "Account",
        "description": "Register, log in, stay signed in, and make API keys for programs.",
    },
    {
        "name": "Workflows",
        "description": "Save, version and change workflows. Versions are immutable: a run keeps the one it started with.",
    },
    {
        "name": "Teams",
        "description": "Own workflows together, share one with somebody, give one away. Roles: viewer, runner, editor, owner.",
    },
    {"name": "Triggers", "description": "Start runs, from outside or by hand."},
    {
        "name": "Schedules",
        "description": "Start workflows by the clock: cron expressions in a time zone.",
    },
    {"name": "Events", "description": "What has happened elsewhere: it resumes and starts runs."},
    {"name": "Runs", "description": "What happened: history, steps, attempts and logs."},
    {
        "name": "Approvals",
        "description": "What people are asked, and what they have decided. Each approver decides once.",
    },
    {
        "name": "Credentials",
        "description": "The vault: what workflows may use, and nobody reads.",
    },
    {"name": "Nodes", "description": "The building blocks: what a step can be."},
    {
        "name": "Audit",
        "description": "What was done, by whom: chained, so that nothing changes unseen.",
    },
    {
        "name": "Guardrails",
        "description": "What workflows may do, how much, and with whose approval. The stricter policy wins.",
    },
    {
        "name": "Operators",
        "description": "What the whole platform does, and numbers for Prometheus.",
    },
    {"name": "Health", "description": "For load balancers and operators."},
]

_EXAMPLES: Final[Mapping[int, tuple[str, str, str]]] = {
    400: (
        "Malformed body",
        "malformed_body",
        "The body is not valid JSON: unexpected character (line 1, column 10).",
    ),
    401: (
        "No valid credentials",
        "not_authenticated",
        "The access token has expired: log in again.",
    ),
    403: ("Not allowed", "permission_denied", "You may not do this."),
    404: ("Absent, or not yours", "not_found", "There is nothing here, or it is not yours."),
    409: (
        "The state does not allow it",
        "workflow_disabled",
        'The workflow is disabled: enable it with PATCH `{"enabled": true}` before starting runs.',
    ),
    412: (
        "Changed since you read it",
        "precondition_failed",
        "The object has changed since you read it: read it again and repeat with its new ETag.",
    ),
    413: ("Body too large", "body_too_large", "The body is larger than 1048576 bytes."),
    415: (
        "Wrong content type",
        "unsupported_media_type",
        "Send the body with Content-Type: application/json.",
    ),
    422: (
        "Input that does not fit; `errors` lists every problem",
        "invalid_definition",
        "The workflow has 1 problem: mend what `errors` lists and send it again.",
    ),
    429: (
        "Too many attempts, or requests: wait as long as `Retry-After` says",
        "too_many_requests",
        "Too many attempts: try again in 42 seconds.",
    ),
    431: (
        "Headers too large",
        "headers_too_large",
        "The headers exceed 32 KiB: send less.",
    ),
    503: (
        "A server that this needs does not answer",
        "unavailable",
        "The database does not answer right now: try again shortly.",
    ),
}
_EXAMPLE_ERRORS: Final = [
    {
        "pointer": "/definition/steps/0/type",
        "code": "unknown_node_type",
        "detail": "There is no node type 'http_request'. Did you mean `http_request_node`?",
    }
]
BODY_PROBLEMS: Final = (400, 413, 415, 422)
PROBLEM_REFERENCE: Final = {"$ref": "#/components/schemas/ProblemDocument"}


ANYWHERE: Final = (400, 429, 431, 503)
"""What is answered before a request reaches its endpoint, or instead of it."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of a route's errors: who must be known (401) may also lack a role, or a scope (403)."""
    also = {403, *ANYWHERE} if 401 in statuses else {*ANYWHERE}
    return {status: _documented(status) for status in sorted({*statuses, *also})}


def install_openapi(app: FastAPI) -> None:
    """Replace FastAPI's own error schemas by ours in the document that it makes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            app.openapi_schema = _with_our_problems(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


@cache  # a hundred routes tell of the same
def _documented(status: int) -> dict[str, Any]:
    description, code, detail = _EXAMPLES[status]
    example: dict[str, Any] = {
        "type": f"urn:automateos:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if status == 422:
        example["errors"] = _EXAMPLE_ERRORS
    content = {PROBLEM_JSON: {"schema": PROBLEM_REFERENCE, "example": example}}
    return {"description": description, "content": content}


def _with_our_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for theirs in ("HTTPValidationError", "ValidationError"):
        schemas.pop(theirs, None)
    ours = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(ours.pop("$defs"), ProblemDocument=ours)
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                operation["responses"]["422"] = _documented(422)
    return document
