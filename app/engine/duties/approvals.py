"""Duty: do what approvals say for the case that nobody decides in time."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.approvals.deciding import time_out_due

BATCH = 200
MAX_BATCHES = 20
"""In one round, so that other workers get their share."""


class ApprovalTimeouts:
    """Finds due approvals by their time, each worker passing over what another has just taken."""

    name = "approval_timeouts"
    interval_seconds = 0.5

    def __init__(
        self, engine: Engine, clock: Clock, hand_on: Callable[[Sequence[str]], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on

    def run_once(self) -> Mapping[str, int]:
        """Look once; returns how many approvals were ended or escalated."""
        handled = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                found, run_ids = time_out_due(connection, self._clock.now(), BATCH)
            if not found:
                break
            handled += found
            if run_ids:
                self._hand_on(run_ids)
        return {"approvals": handled}
