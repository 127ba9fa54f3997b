"""Duty: forget idempotency keys whose time is up."""

from collections.abc import Mapping

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.dedupe import expire_keys

BATCH = 1_000
MAX_BATCHES = 200
"""In one round: more keys than the intake takes in a minute are never left over for long."""


class Idempotency:
    """Empties the keys of old runs. Intake itself looks at their time as well, so nothing depends on when this comes."""

    name = "idempotency"
    interval_seconds = 60.0

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def run_once(self) -> Mapping[str, int]:
        """Forget what has expired, in small commits; returns how many runs lost their key."""
        expired = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                found = expire_keys(connection, self._clock.now(), BATCH)
            expired += found
            if found < BATCH:
                break
        return {"keys": expired}
