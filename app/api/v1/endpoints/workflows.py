"""Save, version and change workflows."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    Cursor,
    IfMatch,
    Limit,
    UserWorkflows,
    WorkflowId,
    needs,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.v1.links import Forms
from app.core.permissions import Scope
from app.schemas.common import Page, ProblemItem
from app.schemas.run import MAX_VERSION
from app.schemas.workflow import (
    EXAMPLE_DEFINITION,
    CheckResult,
    DefinitionCheck,
    NewWorkflow,
    Rotation,
    VersionForm,
    VersionSummary,
    WorkflowChanges,
    WorkflowDraft,
    WorkflowForm,
    WorkflowSummary,
)
from app.services.pages import DEFAULT_LIMIT
from app.services.workflow_lists import WorkflowFilter
from app.services.workflows import Saved

router = APIRouter(
    prefix="/workflows",
    tags=["Workflows"],
    route_class=GuardedRoute,
)
EXAMPLES: Final[dict[str, Any]] = {
    "bridge": {
        "summary": "Stripe to Discord Bridge",
        "value": {"name": "Stripe to Discord Bridge", "definition": EXAMPLE_DEFINITION},
    },
    "every field": {
        "summary": "With every field",
        "value": {
            "name": "Stripe to Discord Bridge",
            "description": "Tells the team of every sale, once.",
            "definition": EXAMPLE_DEFINITION,
            "enabled": True,
            "webhook": {"auth": "token"},
            "dedupe": {"key": "input.id"},
            "on_event": {"type": "sale.made", "filter": "event.payload.total > 100"},
            "on_success": [],
            "on_failure": {"url": "https://example.com/runs"},
        },
    },
}
New = Annotated[NewWorkflow, Body(openapi_examples=EXAMPLES)]
Draft = Annotated[WorkflowDraft, Body(openapi_examples=EXAMPLES)]
Changes = Annotated[
    WorkflowChanges,
    Body(
        openapi_examples={
            "disable": {"summary": "Disable it", "value": {"enabled": False}},
            "open": {"summary": "Let anybody trigger it", "value": {"webhook": {"auth": "open"}}},
            "rename": {"summary": "Rename it", "value": {"name": "Sales to Discord"}},
        }
    ),
]
VersionNumber = Annotated[int, Path(ge=1, le=MAX_VERSION, description="Counted from 1.")]


@router.post(
    "",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    status_code=201,
    summary="Save a workflow",
    responses=problems(401, 404, *BODY_PROBLEMS),
)
def create_workflow(
    draft: New, workflows: UserWorkflows, forms: Forms, response: Response
) -> WorkflowForm:
    """Save a workflow as version 1, as mine or a team's. The answer holds its `webhook_url`.

    What does not hold is refused (422) with every problem at once, and nothing is saved.
    """
    saved = workflows.create(draft)
    response.headers["Location"] = f"/api/v1/workflows/{saved.workflow.id}"
    return _tagged(saved, forms, response)


@router.get(
    "",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="List workflows",
    responses=problems(401, 404, 422),
)
def list_workflows(
    workflows: UserWorkflows,
    forms: Forms,
    team: Annotated[str | None, Query(description="Only those of this team (id or name).")] = None,
    shared: Annotated[
        bool | None,
        Query(
            description="True: only those of others that are shared with me. False: only mine, and my teams'."
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[WorkflowSummary]:
    """Return the workflows that I may see, newest first, without their definitions: mine, my teams', and those shared with me."""
    found, next_cursor = workflows.list(WorkflowFilter(team, shared), limit, cursor)
    return Page(items=[forms.summary(*one) for one in found], next_cursor=next_cursor)


@router.post(
    "/validate",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Check a definition",
    responses=problems(401, *BODY_PROBLEMS),
)
def validate_definition(form: DefinitionCheck, workflows: UserWorkflows) -> CheckResult:
    """Say what is wrong with a definition, as a workflow of yours, and what policies do not allow of it, without saving it."""
    owner_id, as_form = workflows.caller.id, WorkflowChanges(definition=form.definition)
    found = [
        *workflows.checks.of_definition(form.definition, owner_id),
        *workflows.checks.of_form(as_form, None, owner_id),
    ]
    items = [ProblemItem(pointer=p.pointer, code=p.code, detail=p.detail) for p in found]
    return CheckResult(valid=not items, problems=items)


@router.get(
    "/{workflow_id}",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Read a workflow",
    responses=problems(401, 404),
)
def read_workflow(
    workflow_id: WorkflowId, workflows: UserWorkflows, forms: Forms, response: Response
) -> WorkflowForm:
    """Return a workflow with the definition of its newest version; `ETag` goes into `If-Match` of a change."""
    return _tagged(workflows.get(workflow_id), forms, response)


@router.put(
    "/{workflow_id}",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Replace a workflow",
    responses=problems(401, 404, 409, 412, *BODY_PROBLEMS),
)
def replace_workflow(
    workflow_id: WorkflowId,
    draft: Draft,
    if_match: IfMatch,
    workflows: UserWorkflows,
    forms: Forms,
    response: Response,
) -> WorkflowForm:
    """Save name and definition; optional fields that are left out keep their values.

    A changed definition is saved as the next version; runs that have started keep theirs.
    """
    return _tagged(workflows.change(workflow_id, draft, if_match), forms, response)


@router.patch(
    "/{workflow_id}",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Change parts of a workflow",
    responses=problems(401, 404, 409, 412, *BODY_PROBLEMS),
)
def change_workflow(
    workflow_id: WorkflowId,
    changes: Changes,
    if_match: IfMatch,
    workflows: UserWorkflows,
    forms: Forms,
    response: Response,
) -> WorkflowForm:
    """Change the fields that are sent; everything else stays."""
    return _tagged(workflows.change(workflow_id, changes, if_match), forms, response)


@router.delete(
    "/{workflow_id}",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    status_code=204,
    summary="Delete a workflow",
    responses=problems(401, 404, 409, 412),
)
def delete_workflow(workflow_id: WorkflowId, if_match: IfMatch, workflows: UserWorkflows) -> None:
    """Delete a workflow: it can no longer be triggered. Its runs stay readable under `/runs`."""
    workflows.delete(workflow_id, if_match)


@router.post(
    "/{workflow_id}/webhook/rotate",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Get another webhook token, or secret",
    responses=problems(401, 404, 409, *BODY_PROBLEMS),
)
def rotate_webhook(
    workflow_id: WorkflowId,
    workflows: UserWorkflows,
    forms: Forms,
    response: Response,
    rotation: Rotation | None = None,
) -> WorkflowForm:
    """Put another token into `webhook_url`, or set another secret; a secret that is made is shown in this answer only.

    The one before counts on for `overlap_seconds`: a day for a secret, unless you say otherwise; not at all for a token.
    """
    return _tagged(workflows.rotate_webhook(workflow_id, rotation or Rotation()), forms, response)


@router.get(
    "/{workflow_id}/versions",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="List versions",
    responses=problems(401, 404, 422),
)
def list_versions(
    workflow_id: WorkflowId,
    workflows: UserWorkflows,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[VersionSummary]:
    """Return the versions of a workflow, newest first, without their definitions."""
    found, next_cursor = workflows.versions(workflow_id, limit, cursor)
    items = [VersionSummary.model_validate(row, from_attributes=True) for row in found]
    return Page(items=items, next_cursor=next_cursor)


@router.get(
    "/{workflow_id}/versions/{number}",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Read a version",
    responses=problems(401, 404, 422),
)
def read_version(
    workflow_id: WorkflowId, number: VersionNumber, workflows: UserWorkflows
) -> VersionForm:
    """Return a version with its definition."""
    found = workflows.version(workflow_id, number)
    return VersionForm.model_validate(found, from_attributes=True)


def _tagged(saved: Saved, forms: Forms, response: Response) -> WorkflowForm:
    response.headers["ETag"] = f'"{saved.workflow.revision}"'
    return forms.whole(saved)
