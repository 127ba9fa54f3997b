"""When workflows start by themselves."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    IdempotencyKey,
    Limit,
    Services,
    TenantSession,
    WorkflowId,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.v1.webhook_openapi import IDEMPOTENCY_KEY
from app.core.permissions import Scope
from app.schemas.common import Page
from app.schemas.schedule import ScheduleChanges, ScheduleDraft, ScheduleForm
from app.services.pages import DEFAULT_LIMIT
from app.services.schedules import Schedules

REPEATED: Final[dict[str, Any]] = {
    "model": ScheduleForm,
    "description": "Seen before: the schedule that was made with this Idempotency-Key, as it stands.",
}
router = APIRouter(
    prefix="/workflows/{workflow_id}/schedules",
    tags=["Schedules"],
    route_class=GuardedRoute,
)


async def get_schedules(
    container: Services, caller: CurrentCaller, session: TenantSession
) -> Schedules:
    """Return what the caller may do with their schedules."""
    return Schedules(session, caller, container.catalogue, container.clock)


async def schedule_id_in_path(schedule_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(schedule_id, "schedule")


UserSchedules = Annotated[Schedules, Depends(get_schedules)]
ScheduleId = Annotated[str, Depends(schedule_id_in_path)]


@router.post(
    "",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    status_code=201,
    summary="Start a workflow by the clock",
    responses={200: REPEATED, **problems(401, 404, 409, *BODY_PROBLEMS)},
    openapi_extra={
        "parameters": [
            {**IDEMPOTENCY_KEY, "description": "Same key, same schedule of this workflow."}
        ]
    },
)
def create_schedule(
    workflow_id: WorkflowId,
    draft: ScheduleDraft,
    key: IdempotencyKey,
    schedules: UserSchedules,
    response: Response,
) -> ScheduleForm:
    """Save a schedule. Each fire time starts one run, however many workers there are.

    Where clocks change: a fixed hour (`30 2 * * *`) that is skipped fires right after the gap, one that comes twice fires
    the first time; a `*` hour (`*/30 * * * *`) follows the clock on the wall.

    Sent again with the same `Idempotency-Key` it answers 200 with the schedule as it stands, and makes no second one.
    """
    saved, is_new = schedules.create(workflow_id, draft, key)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/api/v1/workflows/{workflow_id}/schedules/{saved.id}"
    return saved


@router.get(
    "",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="List a workflow's schedules",
    responses=problems(401, 404, 422),
)
def list_schedules(
    workflow_id: WorkflowId,
    schedules: UserSchedules,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ScheduleForm]:
    """Return the schedules of a workflow, newest first, each with its next five fire times."""
    found, next_cursor = schedules.list(workflow_id, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/{schedule_id}",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Read a schedule",
    responses=problems(401, 404),
)
def read_schedule(
    workflow_id: WorkflowId, schedule_id: ScheduleId, schedules: UserSchedules
) -> ScheduleForm:
    """Return a schedule: when it fires next, what it started last, and what went wrong."""
    return schedules.get(workflow_id, schedule_id)


@router.patch(
    "/{schedule_id}",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Change, enable or disable a schedule",
    responses=problems(401, 404, *BODY_PROBLEMS),
)
def change_schedule(
    workflow_id: WorkflowId,
    schedule_id: ScheduleId,
    changes: ScheduleChanges,
    schedules: UserSchedules,
) -> ScheduleForm:
    """Change the fields that are sent; everything else stays. What passed while it was disabled is not made up for."""
    return schedules.change(workflow_id, schedule_id, changes)


@router.delete(
    "/{schedule_id}",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    status_code=204,
    summary="Delete a schedule",
    responses=problems(401, 404),
)
def delete_schedule(
    workflow_id: WorkflowId, schedule_id: ScheduleId, schedules: UserSchedules
) -> None:
    """Delete a schedule; the runs that it has started stay."""
    schedules.delete(workflow_id, schedule_id)
