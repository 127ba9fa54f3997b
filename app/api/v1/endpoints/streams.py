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


def _stream(*events: str) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of a stream of such events, as FastAPI writes its own."""
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": events},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
            "retry": {"type": "integer"},
        },
        "required": ["event", "data"],
    }
    return {200: {"content": {"text/event-stream": {"itemSchema": event}}}}


@router.get(
    "/runs/stream",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Follow all my runs",
    response_class=StreamingResponse,
    responses=problems(401, 429) | _stream("run"),
)
async def stream_runs(
    proof: CurrentProof,
    caller: CurrentCaller,
    container: Services,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Tell each change of where the runs stand that I may see, as Server-Sent Events: `event: run` with the run as in `GET /runs`.

    Starts with the runs that are not over (of the newest 200), and with those that ended after `Last-Event-ID`.
    """
    feed = OwnerFeed(caller, container.clock, place_of(last_event_id))
    return await event_stream(container, Listener(caller, proof), feed)


@router.get(
    "/runs/{run_id}/stream",
    dependencies=[needs(Scope.RUNS_READ)],
    summary="Follow a run",
    response_class=StreamingResponse,
    responses=problems(401, 404, 429) | _stream("step", "log", "run", "end"),
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
