"""How many runs a process has in flight, counted across threads."""

import threading


class Slots:
    """A counter with a limit: `acquire` blocks while it is reached, which keeps the queue's depth honest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self, wanted: int) -> int:
        """Take up to `wanted` slots, waiting for at least one; returns how many, 0 once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._used < self._limit)
            if self._closed:
                return 0
            granted = min(wanted, self._limit - self._used)
            self._used += granted
            return granted

    def release(self, count: int = 1) -> None:
        """Give slots back."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
