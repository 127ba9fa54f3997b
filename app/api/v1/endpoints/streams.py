"""Runs, live: what changes, as it is committed."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from app.api.body import GuardedRoute
from app.api.deps import CurrentCaller, CurrentProof, RunId, Services, needs
from app.api.event_stream import Listener, event_stream
from app.api.openapi import problems
from app.core.permissions import Scope
from app.services.streams import OwnerFeed, RunFeed, place_of

MAX_EVENT_ID = 20
router = APIRouter(tags=["Runs"], route_class=GuardedRoute)
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=200,
        description="The `id` of the last event that you have seen: what came after it is told.",
    ),
]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


@router.get(
    "/runs/stream",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Follow all my runs",
    response_class=StreamingResponse,
    responses=problems(401, 429) | STREAM,
)
async def stream_runs(
    proof: CurrentProof,
    caller: CurrentCaller,
    container: Services,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Tell each change of where my runs stand, as Server-Sent Events: `event: run` with the run as in `GET /runs`.

    Starts with the runs that are not over (of the newest 200), and with those that ended after `Last-Event-ID`.
    """
    feed = OwnerFeed(caller, container.clock, place_of(last_event_id))
    return await event_stream(container, Listener(caller, proof), feed)


@router.get(
    "/runs/{run_id}/stream",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Follow a run",
    response_class=StreamingResponse,
    responses=problems(401, 404, 429) | STREAM,
)
async def stream_run(
    run_id: RunId,
    proof: CurrentProof,
    caller: CurrentCaller,
    container: Services,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Tell what happens in a run as Server-Sent Events: `step`, `log` and `run` as they are committed, and `end` at its end.

    With `Last-Event-ID` it goes on after that event, whichever API process answers; without, it tells all from the start.
    """
    after = last_event_id or ""
    is_ours = after.isascii() and after.isdigit() and len(after) < MAX_EVENT_ID
    feed = RunFeed(caller, run_id, int(after) if is_ours else 0)
    return await event_stream(container, Listener(caller, proof), feed)
