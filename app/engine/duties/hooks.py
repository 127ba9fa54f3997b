"""Duty: start what is to be called because a run has ended."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.hooks.starting import start_hooks

BATCH = 100
MAX_BATCHES = 10
"""In one round, so that other workers get their share."""


class Hooks:
    """Finds runs that are over and whose hooks are not called, each worker passing over what another has just taken."""

    name = "hooks"
    interval_seconds = 0.5

    def __init__(
        self, engine: Engine, clock: Clock, hand_on: Callable[[Sequence[str]], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on

    def run_once(self) -> Mapping[str, int]:
        """Look once; returns of how many runs hooks were called."""
        ended = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                count, run_ids = start_hooks(connection, self._clock.now(), BATCH)
            if run_ids:
                self._hand_on(run_ids)
            ended += count
            if count < BATCH:
                break
        return {"runs": ended}
