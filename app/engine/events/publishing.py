"""Publish events: store each once, and start the workflows that wait for its type, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.core.errors import ExpressionError
from app.core.logging import get_logger
from app.core.statuses import TriggerKind
from app.engine.events import store
from app.engine.events.matching import Event, starts
from app.engine.intake import NewRun, accept

MAX_EVENT_DEPTH = 10
"""How many runs deep events may start each other; beyond that it is taken for a loop without an end."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event: under which row it is stored, and which runs it has started."""

    row_id: str
    duplicate: bool
    started: tuple[str, ...] = ()


def publish(
    connection: Connection,
    events: Sequence[Event],
    now: datetime,
    too_deep: Callable[[Event, str], None],
) -> list[Published]:
    """Store events in the caller's transaction; returns one answer per event, in order.

    An event with an id (or key) that its owner has used already changes nothing. `too_deep` is told of each workflow (by
    id) that an event does not start because it lies at the end of too long a chain of events and runs.
    """
    # In one order everywhere: two transactions with the same ids must not wait for each other.
    rows = [
        _row(event) for event in sorted(events, key=lambda e: (e.owner_id, e.named or "", e.row_id))
    ]
    stored = {row.id for row in store.INSERT.run(connection, rows)}
    new = [event for event in events if event.row_id in stored]
    started = _start(connection, new, now, too_deep)
    earlier = _earlier(connection, [event for event in events if event.row_id not in stored])
    return [
        Published(event.row_id, False, tuple(started.get(event.row_id, ())))
        if event.row_id in stored
        else Published(earlier.get((event.owner_id, event.named), event.row_id), True)
        for event in events
    ]


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.row_id,
        "owner_id": event.owner_id,
        "event_id": event.named,
        "type": event.type,
        "correlation_id": event.correlation_id,
        "payload": event.payload,
        "depth": event.depth,
        "received_at": event.received_at,
    }


def _earlier(connection: Connection, events: Sequence[Event]) -> dict[tuple[str, str | None], str]:
    """Return the rows that hold the ids of events that were not stored."""
    rows = [
        {"owner_id": event.owner_id, "event_id": event.named} for event in events if event.named
    ]
    if not rows:
        return {}
    return {(row.owner_id, row.event_id): row.id for row in store.FIND_NAMED.run(connection, rows)}


def _start(
    connection: Connection,
    events: Sequence[Event],
    now: datetime,
    too_deep: Callable[[Event, str], None],
) -> dict[str, list[str]]:
    """Start a run of each workflow that an event triggers; returns their ids by the row of the event."""
    triggered = _triggered(connection, events)
    pairs = [
        (event, workflow)
        for event in events
        for workflow in triggered.get((event.owner_id, event.type), ())
        if _is_started(event, workflow, too_deep)
    ]
    if not pairs:
        return {}
    runs = [_run(event, workflow) for event, workflow in pairs]
    started: dict[str, list[str]] = {}
    for (event, _), accepted in zip(pairs, accept(connection, runs, now), strict=True):
        started.setdefault(event.row_id, []).append(accepted.run_id)
    return started


def _triggered(
    connection: Connection, events: Sequence[Event]
) -> Mapping[tuple[str, str], Sequence[Row[Any]]]:
    places = sorted({(event.owner_id, event.type) for event in events})
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    if places:
        rows = [{"owner_id": owner_id, "type": type_} for owner_id, type_ in places]
        for row in store.FIND_TRIGGERED.run(connection, rows):
            found.setdefault((row.owner_id, row.event_type), []).append(row)
    return found


def _is_started(event: Event, workflow: Row[Any], too_deep: Callable[[Event, str], None]) -> bool:
    try:
        passes = starts(event, workflow.event_filter)
    except ExpressionError as fault:
        log.warning(
            "event_filter_failed",
            workflow_id=workflow.id,
            event_id=event.row_id,
            reason=fault.detail,
        )
        return False
    if passes and event.depth > MAX_EVENT_DEPTH:
        too_deep(event, workflow.id)
        return False
    return passes


def _run(event: Event, workflow: Row[Any]) -> NewRun:
    return NewRun(
        owner_id=event.owner_id,
        workflow_id=workflow.id,
        version_id=workflow.version_id,
        version=workflow.version,
        trigger=TriggerKind.EVENT,
        input=event.shown,
        idempotency_key=f"event:{event.row_id}",
        depth=event.depth,
    )
