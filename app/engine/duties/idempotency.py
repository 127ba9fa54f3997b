"""Duty: forget idempotency keys, and signed deliveries, whose time is up."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine

from app.core.clock import Clock
from app.engine.dedupe import expire_keys
from app.engine.deliveries import expire_deliveries

BATCH = 1_000
MAX_BATCHES = 200
"""In one round: more keys than the intake takes in a minute are never left over for long."""


class Idempotency:
    """Empties the keys of old runs, and deletes old deliveries. Intake itself looks at their time as well, so nothing depends on when this comes."""

    name = "idempotency"
    interval_seconds = 60.0

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def run_once(self) -> Mapping[str, int]:
        """Forget what has expired, in small commits; returns how many runs lost their key, and how many deliveries went."""
        return {"keys": self._all(expire_keys), "deliveries": self._all(expire_deliveries)}

    def _all(self, expire: Callable[[Connection, datetime, int], int]) -> int:
        expired = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                found = expire(connection, self._clock.now(), BATCH)
            expired += found
            if found < BATCH:
                break
        return expired
