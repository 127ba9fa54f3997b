"""Publish events: store each once, and start the workflows that wait for its type, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.core.errors import Unavailable
from app.engine.events import store
from app.engine.events.matching import Event
from app.engine.events.starting import Refusal, start

ID_TRIES = 3
"""How often an id may become free between the look at it and the look for its event, before the event is put off."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event: under which row it is stored, which runs it has started, and which it must not."""

    row_id: str
    duplicate: bool
    started: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


def publish(connection: Connection, events: Sequence[Event], now: datetime) -> list[Published]:
    """Store events in the caller's transaction; returns one answer per event, in order.

    An event with an id (or key) that its owner has used already changes nothing.

    Raises:
        Unavailable: ids have become free again and again; what was published may be published once more.
    """
    stored, earlier = _store(connection, events)
    started = start(connection, [event for event in events if event.row_id in stored], now)
    return [
        Published(event.row_id, False, tuple(found.run_ids), tuple(found.refused))
        if (found := started.get(event.row_id))
        else Published(earlier.get((event.owner_id, event.named), event.row_id), True)
        for event in events
    ]


def _store(
    connection: Connection, events: Sequence[Event]
) -> tuple[set[str], dict[tuple[str, str | None], str]]:
    """Return the rows of the events that were stored, and the rows that hold the ids of the others."""
    # In one order everywhere: two transactions with the same ids must not wait for each other.
    left = sorted(events, key=lambda event: (event.owner_id, event.named or "", event.row_id))
    stored: set[str] = set()
    earlier: dict[tuple[str, str | None], str] = {}
    for _ in range(ID_TRIES):
        stored |= {row.id for row in store.INSERT.run(connection, [_row(event) for event in left])}
        left = [event for event in left if event.named and event.row_id not in stored]
        earlier |= _earlier(connection, left)
        # An id that was in the way and has no event any more was forgotten meanwhile: its time was over.
        left = [event for event in left if (event.owner_id, event.named) not in earlier]
        if not left:
            return stored, earlier
    raise Unavailable("The event's id has just been forgotten: publish the event again.")


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
    rows = [{"owner_id": event.owner_id, "event_id": event.named} for event in events]
    if not rows:
        return {}
    return {(row.owner_id, row.event_id): row.id for row in store.FIND_NAMED.run(connection, rows)}
