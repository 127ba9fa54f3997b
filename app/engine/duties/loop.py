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
    """Runs a duty in a thread of its own until it is stopped: after each interval, or, `on_call`, when it is called.

    One that is called has its interval between two rounds as well.

    A failure is logged, and the duty tried again after twice its interval: never much later, for a lease must be renewed
    soon after the database is back. `done` is told the duty's name and what each round has done, a failure as `failed`.
    """

    def __init__(
        self, duty: Duty, done: Callable[[str, Mapping[str, int]], None], *, on_call: bool = False
    ) -> None:
        self._duty = duty
        self._done = done
        self._stop = threading.Event()
        self._called = threading.Event() if on_call else None
        self._thread = threading.Thread(target=self._loop, name=f"duty-{duty.name}", daemon=True)

    @property
    def name(self) -> str:
        """Return the duty's name."""
        return self._duty.name

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self) -> None:
        """Have a round done, soon."""
        if self._called is not None:
            self._called.set()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the current round."""
        self._stop.set()
        self.call()
        self._thread.join(timeout_seconds)

    def _loop(self) -> None:
        pause = self._duty.interval_seconds
        while self._wait(pause):
            pause = self._round()

    def _wait(self, pause: float) -> bool:
        """Wait for the next round; returns False when there is to be none."""
        self._stop.wait(pause)
        if self._called is not None:
            self._called.wait()
            self._called.clear()
        return not self._stop.is_set()

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
