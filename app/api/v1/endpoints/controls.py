"""Control over runs: pause, resume, cancel, retry and replay."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Response

from app.api.body import GuardedRoute
from app.api.deps import CurrentCaller, IdempotencyKey, OpenSession, RunId, Services, needs
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.engine.delivery.dispatch import BackgroundDispatch
from app.engine.metrics.meters import ApiMeters
from app.schemas.control import (
    BulkReceipt,
    BulkRequest,
    ControlRequest,
    ReplayReceipt,
    ReplayRequest,
)
from app.schemas.run import RunForm
from app.services.controls import Controls

ERRORS: Final = problems(401, 404, 409, *BODY_PROBLEMS)
REPLAY_OPERATION: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Repeated with the same key, the first replay is returned and no second one made.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        }
    ]
}
router = APIRouter(tags=["Runs"], route_class=GuardedRoute)
StepPath = Annotated[
    str, Path(description="The step's path, as the run tells it.", examples=["step_1"])
]


async def get_controls(
    caller: CurrentCaller, session: OpenSession, container: Services, after: BackgroundTasks
) -> Controls:
    """Return what the caller may do to their runs; those that go on are handed on once it is committed."""
    controls = Controls(session, caller, container.catalogue, [])
    after.add_task(_hand_on, container.dispatch, controls.due)
    after.add_task(_count_cancelled, container.metrics.meters, controls.cancelled)
    return controls


async def _hand_on(dispatch: BackgroundDispatch, run_ids: Sequence[str]) -> None:
    for run_id in run_ids:
        dispatch.put(run_id)


async def _count_cancelled(meters: ApiMeters, cancelled: Collection[str]) -> None:
    meters.cancelled(len(cancelled))


def _reason(form: ControlRequest | None) -> str | None:
    return None if form is None else form.reason


UserControls = Annotated[Controls, Depends(get_controls)]


@router.post(
    "/runs/cancel",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Cancel many runs",
    responses=problems(401, *BODY_PROBLEMS),
)
def cancel_runs(form: BulkRequest, controls: UserControls) -> BulkReceipt:
    """Cancel my runs that fit the filter and are not over, newest first."""
    return controls.cancel_many(form)


@router.post(
    "/runs/retry",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Retry many runs",
    responses=problems(401, *BODY_PROBLEMS),
)
def retry_runs(form: BulkRequest, controls: UserControls) -> BulkReceipt:
    """Let my failed runs that fit the filter go on from the steps that failed, newest first."""
    return controls.retry_many(form)


@router.post(
    "/runs/{run_id}/pause",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Pause a run",
    responses=ERRORS,
)
def pause_run(run_id: RunId, controls: UserControls, form: ControlRequest | None = None) -> RunForm:
    """Start nothing new in a run until it is resumed. Attempts in flight end; what it waits for may happen meanwhile."""
    return controls.pause(run_id, _reason(form))


@router.post(
    "/runs/{run_id}/resume",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Resume a run",
    responses=ERRORS,
)
def resume_run(
    run_id: RunId, controls: UserControls, form: ControlRequest | None = None
) -> RunForm:
    """Let a paused run go on. One that asks about a lost attempt (`waiting_for`) tries that step again."""
    return controls.resume(run_id, _reason(form))


@router.post(
    "/runs/{run_id}/cancel",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Cancel a run",
    responses=ERRORS,
)
def cancel_run(
    run_id: RunId, controls: UserControls, form: ControlRequest | None = None
) -> RunForm:
    """End a run now. Steps in flight are interrupted within two seconds and end `cancelled`; runs it waits for, too."""
    return controls.cancel(run_id, _reason(form))


@router.post(
    "/runs/{run_id}/steps/{path}/retry",
    dependencies=[needs(Scope.RUNS_WRITE)],
    summary="Retry a failed step",
    responses=ERRORS,
)
def retry_step(
    run_id: RunId, path: StepPath, controls: UserControls, form: ControlRequest | None = None
) -> RunForm:
    """Let a failed run go on from a failed step: that step and everything after it start anew, nothing else is redone."""
    return controls.retry(run_id, path, _reason(form))


@router.post(
    "/runs/{run_id}/replay",
    dependencies=[needs(Scope.RUNS_WRITE)],
    status_code=202,
    summary="Replay a run",
    openapi_extra=REPLAY_OPERATION,
    responses={
        200: {"model": ReplayReceipt, "description": "Seen before: the first such replay."},
        **ERRORS,
    },
)
def replay_run(
    run_id: RunId,
    controls: UserControls,
    key: IdempotencyKey,
    response: Response,
    form: ReplayRequest | None = None,
) -> ReplayReceipt:
    """Start a new run with the input of this one, on the same version or the latest, from the start or from a step."""
    run, new = controls.replay(run_id, form or ReplayRequest(), key)
    response.headers["Location"] = f"/api/v1/runs/{new.run_id}"
    response.status_code = 200 if new.duplicate else 202
    return ReplayReceipt(
        id=new.run_id, workflow_id=run.workflow_id, replay_of=run.id, **asdict(new)
    )
