"""The database's time, for what the API stores."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from app.core.clock import SyncedClock
from app.engine.store import database_now

SYNC_SECONDS: Final = 30.0


class DatabaseTime:
    """Tells the time by which workers judge when something is due, however wrong this machine's clock is.

    The database is asked now and then only. For one thread at a time.
    """

    def __init__(self, clock: SyncedClock) -> None:
        self._clock = clock
        self._sync_at = 0.0

    def now(self, connection: Connection) -> datetime:
        """Return the database's time."""
        asked = self._clock.monotonic()
        if asked >= self._sync_at:
            self._clock.sync(database_now(connection), asked)
            self._sync_at = self._clock.monotonic() + SYNC_SECONDS
        return self._clock.now()
