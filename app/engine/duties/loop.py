"""The loop that every background duty runs in, written once."""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from app.core.logging import get_logger

log = get_logger(__name__)


class Duty(Protocol):
    """Something that every worker does from time to time."""

    name: str
    interval_seconds: float

    def run_once(self) -> Mapping[str, int]:
        """Do it once; returns what was done, as counts."""
        ...


class DutyLoop:
    """Runs a duty in a thread of its own until it is stopped.

    A failure is logged, and the duty tried again after twice its interval: never much later, for a lease must be renewed
    soon after the database is back. `done` is told the duty's name and what each round has done, a failure as `failed`.
    """

    def __init__(self, duty: Duty, done: Callable[[str, Mapping[str, int]], None]) -> None:
        self._duty = duty
        self._done = done
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"duty-{duty.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the current round."""
        self._stop.set()
        self._thread.join(timeout_seconds)

    def _loop(self) -> None:
        pause = self._duty.interval_seconds
        while not self._stop.wait(pause):
            pause = self._round()

    def _round(self) -> float:
        try:
            counts = self._duty.run_once()
        except Exception as error:  # noqa: BLE001 - a duty must outlive whatever it meets
            log.warning(
                "duty_failed", duty=self._duty.name, error=f"{type(error).__name__}: {error}"
            )
            self._done(self._duty.name, {"failed": 1})
            return 2 * self._duty.interval_seconds
        if any(counts.values()):
            self._done(self._duty.name, counts)
            log.debug("duty_done", duty=self._duty.name, **counts)
        return self._duty.interval_seconds
