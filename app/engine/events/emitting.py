"""Events that runs emit: published in the commit of the step's result, so exactly once."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.core.ids import parse_id
from app.core.logging import get_logger
from app.engine import store
from app.engine.checkpoint import Checkpoint
from app.engine.events.faults import LINE_OF_THE_ENGINE
from app.engine.events.matching import Event
from app.engine.events.publishing import MAX_EVENT_DEPTH, publish
from app.engine.followups import Followups
from app.engine.planning.record import StepState

Emission = tuple[Checkpoint, StepState, Mapping[str, Any]]
"""Who emits, at which attempt, and what the command holds: `id`, `type`, `correlation_id`, `payload`."""
log = get_logger(__name__)


def emit(connection: Connection, emissions: Sequence[Emission]) -> Followups:
    """Publish what attempts have emitted, in the transaction of their checkpoints.

    A checkpoint that is written twice publishes once: the event's id is part of the command.
    """
    by_id = {data["id"]: (checkpoint, state) for checkpoint, state, data in emissions}
    events = [_event(*emission) for emission in emissions if parse_id(emission[2]["id"])]
    if not events:
        return Followups()
    lines: list[dict[str, Any]] = []

    def too_deep(event: Event, workflow_id: str) -> None:
        log.warning("event_loop_stopped", workflow_id=workflow_id, event_id=event.row_id)
        lines.append(_line(*by_id[event.row_id], event, workflow_id, len(lines)))

    now = max(event.received_at for event in events)
    published = publish(connection, events, now, too_deep)
    if lines:
        store.INSERT_LOGS.run(connection, lines)
    return Followups(
        new_runs=tuple(run_id for one in published for run_id in one.started),
        published=tuple(one.row_id for one in published if not one.duplicate),
    )


def _event(checkpoint: Checkpoint, state: StepState, data: Mapping[str, Any]) -> Event:
    at = state.finished_at or state.started_at
    assert at is not None  # noqa: S101 - an attempt that ended, or waits, has begun
    facts = checkpoint.facts
    return Event(
        row_id=data["id"],
        owner_id=facts.owner_id,
        type=data["type"],
        correlation_id=data["correlation_id"],
        payload=data["payload"],
        received_at=at,
        depth=facts.depth + 1,
    )


def _line(
    checkpoint: Checkpoint, state: StepState, event: Event, workflow_id: str, number: int
) -> dict[str, Any]:
    message = (
        f"The event {event.type!r} did not start workflow {workflow_id}: runs and events have started each other "
        f"{MAX_EVENT_DEPTH} times in a row, which looks like a loop without an end. Give the workflow's `on_event` a filter."
    )
    return {
        "run_id": checkpoint.run_id,
        "path": state.path,
        "attempt": state.attempt,
        "line": LINE_OF_THE_ENGINE + number,
        "level": "error",
        "message": message,
        "data": {"event_id": event.id, "depth": event.depth},
        "at": event.received_at,
    }
