"""Duty: take the runs of dead workers back to the queue."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row

from app.core.clock import Clock
from app.core.logging import get_logger
from app.engine import lease_store, store

BATCH = 1_000
log = get_logger(__name__)


class Reaper:
    """Forgets workers whose lease ran out, and hands on every run whose worker is not there."""

    name = "reaper"

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        hand_on: Callable[[Sequence[str]], None],
        release_strays: Callable[[], int],
        may_reap: Callable[[], bool],
        interval_seconds: float,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hand_on = hand_on
        self._release_strays = release_strays
        self._may_reap = may_reap
        self.interval_seconds = interval_seconds

    def run_once(self) -> Mapping[str, int]:
        """Reap once; returns the numbers of dead workers, and of the runs that were taken from them."""
        now = self._clock.now()
        again = now + timedelta(seconds=store.HINT_GRACE_SECONDS)
        dead = self._forget_dead_workers(now) if self._may_reap() else ()
        with self._engine.begin() as connection:
            orphans = lease_store.RELEASE_ORPHANS.run(connection, again=again, batch=BATCH)
        if orphans:
            log.warning("runs_taken_over", runs=len(orphans))
            self._hand_on([row.id for row in orphans])
        return {"workers": len(dead), "runs": len(orphans), "strays": self._release_strays()}

    def _forget_dead_workers(self, now: datetime) -> Sequence[Row[Any]]:
        with self._engine.begin() as connection:
            dead = lease_store.DELETE_DEAD_WORKERS.run(connection, now=now)
        for worker in dead:
            log.warning("worker_reaped", worker_id=worker.id, host=worker.host, pid=worker.pid)
        return dead
