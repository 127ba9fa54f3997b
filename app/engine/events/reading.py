"""Rows of events and waits as values, and the locks under which they are matched."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from app.engine.events import store
from app.engine.events.matching import Event, EventWait, WaitKey
from app.engine.waiting.ending import lock_runs


def read_event(row: Row[Any]) -> Event:
    """Return the event of a row with `store.EVENT_COLUMNS`."""
    return Event(
        row_id=row.id,
        owner_id=row.owner_id,
        type=row.type,
        correlation_id=row.correlation_id,
        payload=row.payload,
        received_at=row.received_at,
        named=row.event_id,
        depth=row.depth,
        fresh=row.fresh,
    )


def read_wait(row: Row[Any]) -> EventWait:
    """Return the wait of a row with `store.WAIT_COLUMNS`."""
    return EventWait(
        (row.run_id, row.path, row.attempt),
        row.owner_id,
        row.event_type,
        row.correlation_id,
        row.filter,
        row.created_at,
    )


def load_waits(connection: Connection, events: Sequence[Event]) -> list[EventWait]:
    """Return the open waits of the events' owners, types and correlation ids: each once, however many events there are."""
    correlated = {(e.owner_id, e.type, e.correlation_id) for e in events if e.correlation_id}
    rows = [
        {"owner_id": owner_id, "type": type_, "correlation_id": text}
        for owner_id, type_, text in correlated
    ]
    found = list(store.FIND_WAITS.run(connection, rows)) if rows else []
    places = {(event.owner_id, event.type) for event in events}
    rows = [{"owner_id": owner_id, "type": type_} for owner_id, type_ in places]
    found += store.FIND_UNCORRELATED_WAITS.run(connection, rows)
    return [read_wait(row) for row in found]


def hold(connection: Connection, waits: Sequence[EventWait]) -> frozenset[WaitKey]:
    """Hold the runs of waits until the commit; returns which of the waits are still open."""
    if not waits:
        return frozenset()
    lock_runs(connection, [wait.key[0] for wait in waits])
    keys = {wait.key: wait.key_row for wait in waits}
    rows = store.STILL_OPEN.run(connection, list(keys.values()))
    return frozenset((row.run_id, row.path, row.attempt) for row in rows)
