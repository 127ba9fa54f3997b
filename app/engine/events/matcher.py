"""Matches events with waits: after the commit that stored either, so that of two that come at once, one sees the other.

A fresh event ends every wait that it fits, and is consumed when there is one. Else it is kept until its time is over, for the
first wait that it fits. Each is done in one transaction: runs locked, then events; then both are looked at again, then written.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from app.core.clock import Clock
from app.engine.events import store
from app.engine.events.faults import FilterFaults
from app.engine.events.matching import Event, EventWait, Place, assign, find_candidates
from app.engine.events.reading import hold, load_waits, read_event, read_wait
from app.engine.planning.transitions import Succeeded, resolution_of
from app.engine.waiting.ending import WaitEnd, Woken, end_waits

RECEIVED = "received"
EVENTS_AT_ONCE = 100
RUNS_AT_ONCE = 100
PAGE = 100
"""How many kept events of each place are looked at in one transaction."""
BEFORE_ALL = (datetime(1970, 1, 1, tzinfo=UTC), "00000000-0000-0000-0000-000000000000")
NOBODY = Woken(frozenset(), ())
Pages = Mapping[Place, Sequence[Event]]


class Matcher:
    """Ends waits by events. Any number of these may work at the same moment, in any process."""

    def __init__(self, engine: Engine, clock: Clock, ttl_seconds: float) -> None:
        self._engine = engine
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_seconds)

    def take(self, event_ids: Sequence[str]) -> tuple[dict[str, int], list[str]]:
        """End what fresh events fit, and keep the rest of them.

        Returns how many waits each has ended, by row id, also when somebody else has seen to it, and the runs that are to be
        handed on.
        """
        counts: dict[str, int] = {}
        run_ids: list[str] = []
        for start in range(0, len(event_ids), EVENTS_AT_ONCE):
            part = event_ids[start : start + EVENTS_AT_ONCE]
            with self._engine.begin() as connection:
                ended, woken = self._take(connection, part)
            counts |= ended
            run_ids += woken.run_ids
        return counts, run_ids

    def search(self, run_ids: Sequence[str]) -> list[str]:
        """Look through the kept events for the event waits of runs that are new; returns the runs to be handed on."""
        found: list[str] = []
        for start in range(0, len(run_ids), RUNS_AT_ONCE):
            rows = [{"id": run_id} for run_id in run_ids[start : start + RUNS_AT_ONCE]]
            with self._engine.begin() as connection:
                waits = [read_wait(row) for row in store.LOAD_FRESH_WAITS.run(connection, rows)]
                places = [_place_row(wait.place) for wait in waits]
                fresh = store.FIND_FRESH.run(connection, places) if waits else ()
            # An event that nobody has looked at yet is for all who wait, not for these alone.
            found += self.take([row.id for row in fresh])[1]
            found += self._search(waits)
        return found

    def _search(self, waits: Sequence[EventWait]) -> list[str]:
        found: list[str] = []
        after = {wait.place: BEFORE_ALL for wait in waits}
        while waits:
            with self._engine.begin() as connection:
                pages = self._load_pages(connection, after)
                woken, waits = self._end(connection, waits, pages)
            found += woken.run_ids
            after = {wait.place: pages[wait.place][-1].order for wait in waits}
        return found

    def _take(
        self, connection: Connection, event_ids: Sequence[str]
    ) -> tuple[dict[str, int], Woken]:
        rows = [{"id": event_id} for event_id in event_ids]
        events = [read_event(row) for row in store.LOAD_FRESH.run(connection, rows)]
        faults = FilterFaults()
        candidates = find_candidates(events, load_waits(connection, events), faults.add)
        open_waits = hold(connection, [wait for waits in candidates.values() for wait in waits])
        fresh = {row.id for row in store.LOCK.run(connection, rows) if row.fresh}
        events = [event for event in events if event.row_id in fresh]
        assigned = assign(events, candidates, open_waits)
        woken = self._write(connection, events, assigned)
        faults.write(connection, self._clock.now())
        counts = {event.row_id: len(assigned.get(event.row_id, ())) for event in events}
        others = [row for row in rows if row["id"] not in counts]
        if others:
            counts |= {row.id: row.woken for row in store.COUNT_WOKEN.run(connection, others)}
        return counts, woken

    def _end(
        self, connection: Connection, waits: Sequence[EventWait], pages: Pages
    ) -> tuple[Woken, list[EventWait]]:
        """End waits by kept events, one each; returns also the waits for which there is more to look through."""
        faults = FilterFaults()
        events = [event for page in pages.values() for event in page]
        candidates = find_candidates(events, waits, faults.add)
        open_waits = hold(connection, waits)
        rows = [{"id": row_id} for row_id in candidates]
        left = {row.id for row in store.LOCK.run(connection, rows)} if rows else set()
        events = [event for event in events if event.row_id in left]
        assigned = assign(events, candidates, open_waits)
        taken = [event for event in events if event.row_id in assigned]
        woken = self._write(connection, taken, assigned)
        more = [
            wait
            for wait in waits
            if wait.key in open_waits - woken.ended and len(pages.get(wait.place, ())) == PAGE
        ]
        done = [wait.key_row for wait in waits if wait not in more]
        store.SETTLE_WAITS.run(connection, done)
        faults.write(connection, self._clock.now())
        return woken, more

    def _write(
        self,
        connection: Connection,
        events: Sequence[Event],
        assigned: Mapping[str, Sequence[EventWait]],
    ) -> Woken:
        if not events:
            return NOBODY
        now = self._clock.now()
        rows = [
            {
                "id": event.row_id,
                "consumed_at": now if event.row_id in assigned else None,
                "expires_at": event.received_at + self._ttl,
                "woken": len(assigned.get(event.row_id, ())),
            }
            for event in events
        ]
        store.SETTLE.run(connection, rows)
        ends = [
            WaitEnd(*wait.key, resolution_of(Succeeded(event.shown, RECEIVED)))
            for event in events
            for wait in assigned.get(event.row_id, ())
        ]
        return end_waits(connection, ends, now) if ends else NOBODY

    def _load_pages(
        self, connection: Connection, after: Mapping[Place, tuple[datetime, str]]
    ) -> dict[Place, list[Event]]:
        """Return the next kept events of each place, oldest first."""
        places = list(after)
        rows = [
            {
                **_place_row(place),
                "place": n,
                "after_at": after[place][0],
                "after_id": after[place][1],
            }
            for n, place in enumerate(places)
        ]
        pages: dict[Place, list[Event]] = {}
        for statement, part in (
            (store.PAGE_CORRELATED, [row for row in rows if row["correlation_id"] is not None]),
            (store.PAGE_ANY, [row for row in rows if row["correlation_id"] is None]),
        ):
            found = (
                statement.run(connection, part, now=self._clock.now(), limit=PAGE) if part else ()
            )
            for row in found:
                pages.setdefault(places[row.place], []).append(read_event(row))
        for page in pages.values():
            page.sort(key=lambda event: event.order)
        return pages


def _place_row(place: Place) -> dict[str, Any]:
    return dict(zip(("owner_id", "type", "correlation_id"), place, strict=True))
