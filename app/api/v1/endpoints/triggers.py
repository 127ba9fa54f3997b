"""Start runs: from outside through a workflow's webhook address, or by hand."""

import re
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from app.api.body import FORM_TYPES, JSON_TYPE, GuardedRoute, has_body, is_json, media_type
from app.api.container import Container, container_of
from app.api.deps import (
    API_KEY_HEADER,
    CurrentProof,
    Services,
    WorkflowId,
    idempotency_key,
    needs_at_desk,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.rates import count_proof, require_room, show_standing
from app.api.v1.webhook_openapi import START_OPERATION, WEBHOOK_OPERATION
from app.api.waiting import applied, await_outcome, wait_seconds, webhook_answer
from app.core.errors import AutomateError, MalformedBody, NotAuthenticated, UnsupportedMedia
from app.core.json_guard import check_json, parse_json
from app.core.permissions import Scope
from app.core.security.shown_once import read_api_key
from app.core.security.tokens import read_token
from app.core.security.webhook_tokens import WEBHOOK_TOKEN_HEADER
from app.core.statuses import TriggerKind
from app.engine.egress.run_depth import RUN_DEPTH_HEADER, told_depth
from app.schemas.run import EndedReceipt, EndedRunReceipt, RunReceipt, RunRequest, TriggerReceipt
from app.services.authentication import Proof
from app.services.rate_limits import Counted
from app.services.run_watch import may_see
from app.services.triggers import TriggerAnswer, TriggerRequest

MAX_FORM_FIELDS: Final = 1000
_PLAIN: Final = re.compile(rb"[\w\-]+")
REPEATED_OR_ENDED: Final[dict[str, Any]] = {
    "model": EndedReceipt | TriggerReceipt,
    "description": "Seen before: the run that the first such request started. Or, with `Prefer: wait`: the run has ended.",
}
router = APIRouter(tags=["Triggers"], route_class=GuardedRoute)


async def trigger_webhook(request: Request) -> Response:
    """Start a run with the body as its `input`: JSON, or a form as an object of its fields; no body is `{}`.

    Whoever may run the workflow may call, with their access token or an API key that has `runs:write`; everybody else as the
    workflow's `webhook.auth` says: with the token of `webhook_url` (`?token=` or `X-Webhook-Token`), a signature over the
    body, or nothing (`open`). Answered `202`, the trigger is stored and yields exactly one run; repeated with the same
    `Idempotency-Key` (or `webhook-id`, or `dedupe.key`) it answers `200` with the first run, and so does a signed call that
    comes again.

    With `Prefer: wait=10` it answers when the run has ended, or after 10 s (60 at most) as it would without: `200` with the
    run's output, or whatever a `respond` step of the run says, as soon as it says so. When the run's legal basis names
    `authorized_users`, only they and the owner, logged in, get the output; others get the run's id and status.
    """
    container = container_of(request)
    workflow_id = object_id(request.path_params["workflow_id"], "workflow")
    proof = _proof(request, container)
    if proof is not None:
        count_proof(request.scope, proof)
    require_room(request.scope, Counted.WORKFLOW, workflow_id)
    body = await request.body()
    value, fault = await _input_of(request, body)
    token = _token_in_query(request) or request.headers.get(WEBHOOK_TOKEN_HEADER)
    answer = await container.triggers.submit(
        TriggerRequest(
            workflow_id=workflow_id,
            kind=TriggerKind.WEBHOOK,
            caller=proof,
            token=token,
            input=value,
            idempotency_key=await idempotency_key(request),
            headers=request.headers,
            version=None,
            body=body,
            fault=fault,
            address=request.client.host if request.client else None,
            depth=told_depth(request.headers.get(RUN_DEPTH_HEADER)),
        )
    )
    show_standing(request.scope, Counted.WORKFLOW, workflow_id)
    seconds = wait_seconds(request)
    outcome = await await_outcome(
        request, container.run_watch, answer.run_id, seconds, until_end=False
    )
    if outcome is None:
        return _receipt(answer)
    now = container.clock.now()
    shown = await run_in_threadpool(may_see, container.callers, proof, now, outcome)
    return webhook_answer(answer, outcome, seconds, shown=shown)


# Describes the endpoint in OpenAPI. Requests come through `webhook_door`, which spares them the framework's routing.
router.add_api_route(
    "/webhooks/{workflow_id}",
    trigger_webhook,
    methods=["POST"],
    status_code=202,
    summary="Trigger a run from outside",
    response_model=None,
    openapi_extra=WEBHOOK_OPERATION,
    responses={
        200: REPEATED_OR_ENDED,
        202: {"model": TriggerReceipt, "description": "Stored: the run will be executed."},
        **problems(401, 403, 404, 409, *BODY_PROBLEMS),
    },
)


@router.post(
    "/workflows/{workflow_id}/runs",
    dependencies=[needs_at_desk(Scope.RUNS_WRITE)],
    status_code=202,
    summary="Start a run by hand",
    openapi_extra=START_OPERATION,
    responses={
        200: {**REPEATED_OR_ENDED, "model": EndedRunReceipt | RunReceipt},
        **problems(401, 403, 404, 409, *BODY_PROBLEMS),
    },
)
async def start_run(
    proof: CurrentProof,
    workflow_id: WorkflowId,
    request: Request,
    container: Services,
    response: Response,
    form: RunRequest | None = None,
) -> EndedRunReceipt | RunReceipt:
    """Start a run of one of my workflows. `version` runs an older version; else the newest runs.

    With `Prefer: wait=10` it answers `200` with the run's output when the run ends within 10 s (60 at most).
    """
    form = form or RunRequest()
    answer = await container.triggers.submit(
        TriggerRequest(
            workflow_id=workflow_id,
            kind=TriggerKind.MANUAL,
            caller=proof,
            token=None,
            input=form.input,
            idempotency_key=await idempotency_key(request),
            version=form.version,
            context=form.context.stored if form.context else None,
            depth=told_depth(request.headers.get(RUN_DEPTH_HEADER)),
        )
    )
    response.headers["Location"] = f"/api/v1/runs/{answer.run_id}"
    receipt = {"id": answer.run_id, "workflow_id": workflow_id, **asdict(answer)}
    seconds = wait_seconds(request)
    outcome = await await_outcome(
        request, container.run_watch, answer.run_id, seconds, until_end=True
    )
    if outcome is None:
        response.status_code = 200 if answer.duplicate else 202
        return RunReceipt(**receipt)
    response.status_code = 200
    response.headers.update(applied(seconds))
    ended = {"status": outcome.status, "output": outcome.output, "error": outcome.error}
    return EndedRunReceipt(**receipt | ended)


def _proof(request: Request, container: Container) -> Proof | None:
    """Return what may prove the owner; a bearer or key that is not ours is another system's business, and counts as none."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            return read_token(container.key, text.strip(), container.clock.now())
    except NotAuthenticated:
        pass
    try:
        key = request.headers.get(API_KEY_HEADER)
        return None if key is None else read_api_key(key)
    except NotAuthenticated:
        return None


async def _input_of(request: Request, body: bytes) -> tuple[Any, AutomateError | None]:
    """Return the body's value, or why it has none: that is for callers alone who may call."""
    try:
        return await _value_of(request, body), None
    except AutomateError as fault:
        return None, fault


async def _value_of(request: Request, body: bytes) -> Any:
    if not has_body(request):
        return {}
    kind = media_type(request)
    if is_json(kind):
        return parse_json(body) if body else {}
    if kind in FORM_TYPES:
        return await _form_of(request)
    raise UnsupportedMedia(
        f"Send the input as Content-Type: {JSON_TYPE}, or as a form ({FORM_TYPES[0]})."
    )


async def _form_of(request: Request) -> dict[str, Any]:
    """Return a form's fields; one that comes more than once is a list. Files are not taken."""
    body = await request.body()
    try:
        text = body.decode()
        pairs = _url_encoded(text) if media_type(request) == FORM_TYPES[0] else None
    except UnicodeDecodeError:
        raise MalformedBody("The form is not valid UTF-8: encode its text as UTF-8.") from None
    if pairs is None:
        pairs = await _parts(request)
    fields: dict[str, list[Any]] = {}
    for name, found in pairs:
        fields.setdefault(name, []).append(found)
    value = {name: found if len(found) > 1 else found[0] for name, found in fields.items()}
    check_json(value)
    return value


async def _parts(request: Request) -> list[tuple[str, Any]]:
    try:
        async with request.form(max_files=0, max_fields=MAX_FORM_FIELDS) as form:
            return [*form.multi_items()]
    except HTTPException as error:
        raise MalformedBody(f"The form cannot be read: {error.detail}") from None


def _url_encoded(text: str) -> list[tuple[str, Any]]:
    if text.count("&") >= MAX_FORM_FIELDS:
        raise MalformedBody(f"The form has more than {MAX_FORM_FIELDS} fields: send less.")
    return [*parse_qsl(text, keep_blank_values=True, errors="strict")]


def _token_in_query(request: Request) -> str | None:
    query: bytes = request.scope["query_string"]
    name, _, text = query.partition(b"=")
    if name == b"token" and _PLAIN.fullmatch(
        text
    ):  # as in every `webhook_url`: nothing to be parsed
        return text.decode()
    return request.query_params.get("token") if query else None


def _receipt(answer: TriggerAnswer) -> Response:
    return Response(
        orjson.dumps(answer),
        200 if answer.duplicate else 202,
        {"location": f"/api/v1/runs/{answer.run_id}"},
        JSON_TYPE,
    )
