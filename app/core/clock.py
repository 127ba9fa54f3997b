"""The only home of the wall clock. Everything else is handed a `Clock`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SET_BACK_SECONDS = 1.0


class Clock(Protocol):
    """Tells the time: aware UTC, and seconds that never jump."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the one home of the wall clock

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        return time.monotonic()


class SyncedClock:
    """Follows the database's clock: leases and waits of all workers share one time, however wrong theirs are.

    Between calls of `sync` it runs on the machine's monotonic clock. It does not go back for a slow answer, only when the
    database's clock itself was set back.
    """

    def __init__(self) -> None:
        self._base = SystemClock().now()
        self._at = self.monotonic()
        self._synced = False

    def sync(self, database_now: datetime, asked: float) -> None:
        """Take over a time that the database has told; `asked` is `monotonic()` from before the question."""
        at = self.monotonic()
        told = database_now + timedelta(seconds=(at - asked) / 2)
        ahead = (self.now() - told).total_seconds()
        if not self._synced or ahead <= 0 or ahead > SET_BACK_SECONDS + (at - asked):
            self._base, self._at, self._synced = told, at, True

    def now(self) -> datetime:
        """Return the database's current time, aware, in UTC."""
        return self._base + timedelta(seconds=self.monotonic() - self._at)

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        return time.monotonic()
