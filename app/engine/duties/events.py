"""Duty: match events and waits whose process died before it could, and forget events whose time is over."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.events import store
from app.engine.events.matcher import Matcher

BATCH = 500
MAX_BATCHES = 20
"""In one round, so that the duty's own thread can be stopped."""
GRACE = timedelta(seconds=2)
"""After so long, whoever stored an event, or opened a wait, has not matched it and will not."""


class Events:
    """Looks for what was missed. Several workers may find the same: the matcher's locks let one of them do it."""

    name = "events"
    interval_seconds = 1.0

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        matcher: Matcher,
        hand_on: Callable[[Sequence[str]], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._matcher = matcher
        self._hand_on = hand_on

    def run_once(self) -> Mapping[str, int]:
        """Match what was missed and forget what is over; returns how many runs were handed on, and events forgotten."""
        before = self._clock.now() - GRACE
        with self._engine.begin() as connection:
            events = store.FIND_STALE_EVENTS.run(connection, before=before, batch=BATCH)
            waits = store.FIND_STALE_WAITS.run(connection, before=before, batch=BATCH)
        run_ids = [
            *self._matcher.take([row.id for row in events])[1],
            *self._matcher.search(sorted({row.run_id for row in waits})),
        ]
        if run_ids:
            self._hand_on(run_ids)
        return {"runs": len(run_ids), "expired": self._forget()}

    def _forget(self) -> int:
        forgotten = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                rows = store.DELETE_EXPIRED.run(connection, now=self._clock.now(), batch=BATCH)
            forgotten += len(rows)
            if len(rows) < BATCH:
                break
        return forgotten
