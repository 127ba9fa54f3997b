"""The only home of the wall clock. Everything else is handed a `Clock`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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

    Between calls of `sync` it runs on the machine's monotonic clock.
    """

    def __init__(self) -> None:
        self._base = SystemClock().now()
        self._at = time.monotonic()

    def sync(self, database_now: datetime) -> None:
        """Take over a time that the database has just told."""
        self._base, self._at = database_now, time.monotonic()

    def now(self) -> datetime:
        """Return the database's current time, aware, in UTC."""
        return self._base + timedelta(seconds=time.monotonic() - self._at)

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        return time.monotonic()
