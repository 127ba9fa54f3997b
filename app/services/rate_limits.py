"""How often somebody may call: a sliding window for each user, API key, address and webhook, shared by all API processes.

Nobody waits for Redis: a process decides by what it knows, and ten times a second it adds what it has let through to what
all have. So others may let too many through for the tenth of a second in which they do not know yet; while Redis is away,
each counts for itself. The window slides as that of `limits` does: the previous window counts by the part of it that is
still within reach.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor
from typing import Final, Protocol

import redis
from limits import RateLimitItem

from app.core.clock import Clock
from app.core.errors import TooManyRequests
from app.core.logging import get_logger

SYNC_SECONDS: Final = 0.1
REDIS_PAUSE_SECONDS: Final = 10.0
MAX_TALLIES: Final = 100_000
"""Callers that one process knows at a time: about 30 MB. The one that it has known longest goes first."""
_ROUNDING: Final = 1e-6
log = get_logger(__name__)


class Counted(StrEnum):
    """Who, or what, is limited. The value is the name of the policy in the answer's headers."""

    USER = "user"
    KEY = "key"
    ADDRESS = "address"
    WORKFLOW = "workflow"


_OF_WHAT: Final[Mapping[Counted, str]] = {
    Counted.USER: "from this account",
    Counted.KEY: "with this API key",
    Counted.ADDRESS: "from this address",
    Counted.WORKFLOW: "to this webhook",
}
Counters = Mapping[tuple[Counted, str, int], int]
"""Calls by what is counted, by whom, and in which window."""


class SharedCounts(Protocol):
    """What all processes have let through."""

    def add(
        self, new: Counters, seconds: Mapping[Counted, int]
    ) -> Mapping[tuple[Counted, str, int], tuple[int, int]]:
        """Add what this process has let through; return for each what all have in that window, and in the one before.

        Raises:
            redis.RedisError: they do not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands with a limit after a call."""

    counted: Counted
    quota: int
    seconds: int
    remaining: int
    reset_seconds: int
    """Until this window ends."""
    retry_seconds: int | None
    """None: the call may pass."""

    def require(self) -> None:
        """Do nothing when the call may pass.

        Raises:
            TooManyRequests: it may not.
        """
        if self.retry_seconds is not None:
            raise TooManyRequests(
                f"Too many requests {_OF_WHAT[self.counted]}: {self.quota} in {self.seconds} seconds are allowed. Try again "
                f"in {self.retry_seconds} seconds.",
                self.retry_seconds,
            )


@dataclass(slots=True)
class _Tally:
    window: int
    before: int = 0
    """In the previous window, by all."""
    total: int = 0
    """In this window, by all, as far as this process knows."""
    unshared: int = 0
    """The part of `total` that the others do not know of."""

    def roll(self, window: int) -> None:
        """Go on to another window."""
        if window != self.window:
            self.before = self.total if window == self.window + 1 else 0
            self.window, self.total, self.unshared = window, 0, 0


class RateLimits:
    """Counts calls, from any thread, and shares what it counts from the first one on."""

    def __init__(
        self, items: Mapping[Counted, RateLimitItem], clock: Clock, shared: SharedCounts | None
    ) -> None:
        self._items = dict(items)
        self._clock = clock
        self._shared = shared
        self._seconds = {counted: item.get_expiry() for counted, item in items.items()}
        self._tallies: dict[tuple[Counted, str], _Tally] = {}
        self._unshared: set[tuple[Counted, str]] = set()
        self._lock = threading.Lock()
        self._news, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

        self.any = bool(items)
        """Whether there is a limit at all."""

    def limits(self, counted: Counted) -> bool:
        """Tell whether such a limit is set."""
        return counted in self._items

    def close(self) -> None:
        """Share what is left, and stop."""
        self._closed.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def count(self, counted: Counted, who: str) -> Standing | None:
        """Count a call unless it is one too many; None: nothing limits it."""
        return self._ask(counted, who, take=True) if counted in self._items else None

    def require(self, counted: Counted, who: str) -> None:
        """Count a call.

        Raises:
            TooManyRequests: it is one too many.
        """
        standing = self.count(counted, who)
        if standing is not None:
            standing.require()

    def look(self, counted: Counted, who: str) -> Standing | None:
        """Tell how somebody stands, without counting."""
        return self._ask(counted, who, take=False) if counted in self._items else None

    def share_now(self) -> None:
        """Add what was counted to what all have.

        Raises:
            redis.RedisError: Redis does not answer; it is added later.
        """
        assert self._shared is not None  # noqa: S101 - asked for by the caller
        with self._lock:
            tallies = {key: self._tallies[key] for key in self._unshared if key in self._tallies}
            new = {(*key, tally.window): tally.unshared for key, tally in tallies.items()}
            self._unshared.clear()
        try:
            known = self._shared.add(new, self._seconds) if new else {}
        except redis.RedisError:
            with self._lock:
                self._unshared.update(tallies)
            raise
        with self._lock:
            for (counted, who, window), (total, before) in known.items():
                tally = tallies[counted, who]
                if tally.window == window:
                    tally.unshared -= new[counted, who, window]
                    tally.total = total + tally.unshared
                    tally.before = max(before, tally.before)

    def _ask(self, counted: Counted, who: str, *, take: bool) -> Standing:
        item = self._items[counted]
        seconds = self._seconds[counted]
        window, into = divmod(self._clock.now().timestamp(), seconds)
        with self._lock:
            tally = self._tally((counted, who), int(window))
            used = floor(tally.before * (1 - into / seconds)) + tally.total
            passes = used < item.amount
            if passes and take:
                used += 1
                tally.total += 1
                tally.unshared += 1
                self._note((counted, who))
            retry = None if passes else _seconds_to_wait(tally, item.amount, seconds, into)
        remaining = max(0, item.amount - used)
        return Standing(counted, item.amount, seconds, remaining, ceil(seconds - into), retry)

    def _tally(self, key: tuple[Counted, str], window: int) -> _Tally:
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= MAX_TALLIES:
                del self._tallies[next(iter(self._tallies))]
            tally = self._tallies[key] = _Tally(window)
        tally.roll(window)
        return tally

    def _note(self, key: tuple[Counted, str]) -> None:
        if self._shared is not None:
            self._unshared.add(key)
            self._news.set()
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._share, name="rate-limits", daemon=True)
                self._thread.start()

    def _share(self) -> None:
        while not self._closed.is_set():
            self._news.wait()
            self._news.clear()
            self._closed.wait(self._share_if_possible())
        self._share_if_possible()

    def _share_if_possible(self) -> float:
        """Return how long to wait before the next time."""
        try:
            self.share_now()
        except redis.RedisError as error:
            log.warning("rate_limits_without_redis", error=str(error))
            self._news.set()
            return REDIS_PAUSE_SECONDS
        return SYNC_SECONDS


def _seconds_to_wait(tally: _Tally, amount: int, seconds: int, into: float) -> int:
    """Return when a call passes again if there are no others: when enough of the past has slid out of the window."""
    room = amount - tally.total
    if room > 0:
        wait = seconds * (1 - room / tally.before) - into
    else:
        wait = seconds - into + seconds * (1 - amount / tally.total)
    return max(1, floor(wait + _ROUNDING) + 1)
