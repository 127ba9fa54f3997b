"""What happened: run history, steps, attempts and logs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from app.api.body import GuardedRoute
from app.api.deps import Cursor, Limit, RunId, Services, UserRuns, WorkflowId, needs
from app.api.openapi import problems
from app.core.permissions import Scope
from app.core.statuses import RunStatus, TriggerKind
from app.schemas.common import ObjectId, Page, UtcTime
from app.schemas.run import AttemptForm, LogForm, LogLevel, RunForm, RunSummary
from app.services.pages import DEFAULT_LIMIT
from app.services.runs import LogFilter, RunFilter

MAX_LOG_LINES = 1000
MAX_SEARCH_CHARACTERS = 200
router = APIRouter(tags=["Runs"], route_class=GuardedRoute)
StatusFilter = Annotated[RunStatus | None, Query(description="Only runs that stand here.")]


async def run_filter(
    workflow_id: Annotated[ObjectId | None, Query(description="Only runs of this one.")] = None,
    status: StatusFilter = None,
    trigger: Annotated[TriggerKind | None, Query(description="Only runs started so.")] = None,
    since: Annotated[
        UtcTime | None,
        Query(
            description="Only runs accepted at this time or later.",
            examples=["2026-11-01T00:00:00Z"],
        ),
    ] = None,
) -> RunFilter:
    """Return which runs the caller wants."""
    return RunFilter(workflow_id, status, trigger, since)


async def log_filter(
    step: Annotated[
        str | None,
        Query(
            description="Only lines of the step with this path, and of what is in its iterations.",
            max_length=500,
        ),
    ] = None,
    level: Annotated[LogLevel, Query(description="Only lines of at least this level.")] = "debug",
    q: Annotated[
        str | None,
        Query(
            description="Only lines with this text in their message, in whatever case.",
            min_length=1,
            max_length=MAX_SEARCH_CHARACTERS,
        ),
    ] = None,
) -> LogFilter:
    """Return which lines the caller wants."""
    return LogFilter(step, level, q)


@router.get(
    "/workflows/{workflow_id}/runs",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Run history of a workflow",
    responses=problems(401, 404, 422),
)
def list_workflow_runs(
    workflow_id: WorkflowId,
    runs: UserRuns,
    status: StatusFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[RunSummary]:
    """Return a workflow's runs, newest first; `?limit=1` is the latest. `GET /runs/{run_id}` tells of each step."""
    found, next_cursor = runs.list_of(workflow_id, status, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/runs",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Run history",
    responses=problems(401, 422),
)
def list_runs(
    runs: UserRuns,
    wanted: Annotated[RunFilter, Depends(run_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[RunSummary]:
    """Return my runs, newest first, also those of deleted workflows."""
    found, next_cursor = runs.list(wanted, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/runs/{run_id}",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Read a run",
    responses=problems(401, 404),
)
def read_run(run_id: RunId, runs: UserRuns) -> RunForm:
    """Return a run with its input, its output, and what became of each step so far."""
    return runs.get(run_id)


@router.get(
    "/runs/{run_id}/artifacts/{sha256}",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Fetch a large output",
    response_class=StreamingResponse,
    responses=problems(401, 404) | {200: {"content": {"application/json": {"schema": {}}}}},
)
def read_artifact(
    run_id: RunId,
    sha256: Annotated[str, Path(description="Its SHA-256, as the run tells it.")],
    runs: UserRuns,
    container: Services,
) -> StreamingResponse:
    """Return a large output of the run or of one of its steps, as the JSON that it is."""
    artifact = runs.artifact(run_id, sha256)
    headers = {"Content-Length": str(artifact.size), "ETag": f'"{artifact.sha256}"'}
    return StreamingResponse(
        container.artifacts.open(artifact), headers=headers, media_type="application/json"
    )


@router.get(
    "/runs/{run_id}/steps/{path}/attempts",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Attempts at a step",
    responses=problems(401, 404),
)
def list_attempts(run_id: RunId, path: str, runs: UserRuns) -> Page[AttemptForm]:
    """Return every attempt at one step, first one first: when, how it ended, and why it failed."""
    return Page(items=list(runs.attempts(run_id, path)), next_cursor=None)


@router.get(
    "/runs/{run_id}/logs",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Logs of a run",
    responses=problems(401, 404, 422),
)
def list_logs(
    run_id: RunId,
    runs: UserRuns,
    wanted: Annotated[LogFilter, Depends(log_filter)],
    limit: Annotated[int, Query(ge=1, le=MAX_LOG_LINES, description="Most lines to return.")] = 200,
    cursor: Cursor = None,
) -> Page[LogForm]:
    """Return the lines that the run's steps have logged, oldest first."""
    found, next_cursor = runs.logs(run_id, wanted, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)
