"""How many runs a process has in flight, counted across threads and by lane."""

import threading
from collections.abc import Collection, Iterable

GREED = 8
"""A lane may hold up to so many times the slots that it leaves free: alone, 8 of 9; two lanes, 8 of 17 each; and so on.
What is free always suffices for lanes that hold less, however many they are, and nobody counts them."""
BATCHES = 16
"""A lane that holds many slots is not granted single ones: no less than a sixteenth of what it holds, for a claim costs
much the same for one run as for a batch."""


class Slots:
    """A counter with a limit, of which no lane can take so much that others find nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._held: dict[str, int] = {}
        self._closed = False
        self._changed = threading.Condition()
        self._awaited: list[Collection[str]] = []

    def take(self, lane: str, wanted: int) -> int:
        """Take up to `wanted` slots for a lane without waiting; returns how many."""
        with self._changed:
            granted = 0 if self._closed else min(wanted, self._room(lane))
            if granted:
                self._used += granted
                self._held[lane] = self._held.get(lane, 0) + granted
            return granted

    def release(self, lane: str, count: int = 1) -> None:
        """Give slots back."""
        if not count:
            return
        with self._changed:
            self._used -= count
            self._held[lane] = self._held.get(lane, 0) - count
            if not self._held[lane]:
                del self._held[lane]
            if any(self._any_room(lanes) for lanes in self._awaited):
                self._changed.notify_all()

    def full(self, lanes: Collection[str]) -> set[str]:
        """Return those of the lanes that may not take any slot now."""
        with self._changed:
            if self._used >= self._limit:
                return set(lanes)
            return {lane for lane in self._held if not self._room(lane)}.intersection(lanes)

    def wait_for_room(self, lanes: Collection[str], seconds: float) -> bool:
        """Wait until one of the lanes may take slots; returns False when the time is over, or once closed."""
        with self._changed:
            self._awaited.append(lanes)
            try:
                self._changed.wait_for(lambda: self._closed or self._any_room(lanes), seconds)
            finally:
                self._awaited.remove(lanes)
            return not self._closed and self._any_room(lanes)

    def close(self) -> None:
        """Grant nothing any more, and let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _any_room(self, lanes: Iterable[str]) -> bool:
        return any(self._room(lane) for lane in lanes)

    def _room(self, lane: str) -> int:
        """Return how many slots a lane may take: as many as leave it with at most GREED times the free ones."""
        free, held = self._limit - self._used, self._held.get(lane, 0)
        if held == 0:
            return max(GREED * free // (GREED + 1), min(free, 1))
        room = (GREED * free - held) // (GREED + 1)
        return room if room > 0 and room * BATCHES >= held else 0
