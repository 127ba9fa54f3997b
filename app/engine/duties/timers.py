"""Duty: end waits whose time is up."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.waiting.ending import end_due_waits

BATCH = 1_000
MAX_BATCHES = 20
"""In one round, so that other workers get their share."""


class Timers:
    """Finds due waits by their time, each worker passing over what another has just taken."""

    name = "timers"
    interval_seconds = 0.1

    def __init__(
        self, engine: Engine, clock: Clock, hand_on: Callable[[Sequence[str]], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on

    def run_once(self) -> Mapping[str, int]:
        """End what is due; returns how many runs were handed on."""
        handed_on = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                run_ids = end_due_waits(connection, self._clock.now(), BATCH)
            if not run_ids:
                break
            self._hand_on(run_ids)
            handed_on += len(run_ids)
        return {"runs": handed_on}
