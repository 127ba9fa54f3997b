"""Duty: lift kill switches whose time is up, and let the runs go on that lifted ones have held."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.guards import store
from app.engine.guards.holding import release_held
from app.engine.guards.snapshot import STALE_SECONDS

GRACE = timedelta(seconds=STALE_SECONDS)
"""Until every worker knows that a switch is lifted: one that does not would hold the run once more."""
BATCH = 1_000
MAX_BATCHES = 20
"""In one round, so that other workers get their share."""


class HeldRuns:
    """Finds held runs by who holds them, each worker passing over what another has just taken."""

    name = "held_runs"
    interval_seconds = 0.1

    def __init__(
        self, engine: Engine, clock: Clock, hand_on: Callable[[Sequence[str]], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on

    def run_once(self) -> Mapping[str, int]:
        """Look once; returns how many runs go on."""
        with self._engine.begin() as connection:
            now = self._clock.now()
            store.EXPIRE.run(connection, now=now)
            lifted = store.LIFTED_HOLDERS.run(connection, before=now - GRACE)
        return {"released": sum(self._release(row.id) for row in lifted)}

    def _release(self, holder_id: str) -> int:
        released = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                run_ids = release_held(connection, holder_id, self._clock.now(), BATCH)
            if run_ids:
                self._hand_on(run_ids)
            released += len(run_ids)
            if len(run_ids) < BATCH:
                break
        return released
