"""Duty: hand on every run that is due and unclaimed: ended waits, and runs whose hint was lost."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine import store

BATCH = 1_000
BACKLOG_HINTS = 10
BACKLOG_PATIENCE_SECONDS = 60.0
"""While so many hints wait in the queue, a run that is late is most likely behind them: a second hint would only make the
queue look longer than it is."""
REPEAT_SECONDS = 20.0
"""How long a swept run is left to its hint before it is swept again."""


class Sweep:
    """Finds due runs by their wake-up time, each worker passing over what another has just taken."""

    name = "sweep"
    interval_seconds = 0.5

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        hand_on: Callable[[Sequence[str]], None],
        backlog: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on
        self._backlog = backlog

    def run_once(self) -> Mapping[str, int]:
        """Sweep once; returns the number of runs that were handed on."""
        now = self._clock.now()
        patience = BACKLOG_PATIENCE_SECONDS if self._backlog() > BACKLOG_HINTS else 0.0
        with self._engine.begin() as connection:
            due = store.TAKE_DUE.run(
                connection,
                now=now,
                lost_before=now - timedelta(seconds=patience),
                again=now + timedelta(seconds=REPEAT_SECONDS),
                batch=BATCH,
            )
        if due:
            self._hand_on([row.id for row in due])
        return {"runs": len(due)}
