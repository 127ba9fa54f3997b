"""Duty: let steps go on whose runs are over, and cancel runs that nobody waits for any more."""

from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.children.abandoned import cancel_abandoned
from app.engine.children.ending import ChildEndings


class Children:
    """Finds what follow-ups have missed: runs that were cancelled from outside, and commits whose process died."""

    name = "children"
    interval_seconds = 0.5

    def __init__(
        self, engine: Engine, clock: Clock, endings: ChildEndings, cancelled: Callable[[int], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._endings = endings
        self._cancelled = cancelled

    def run_once(self) -> Mapping[str, int]:
        """Look once; returns the numbers of waits that have ended, and of those whose runs are cancelled."""
        return {
            "ended": self._endings.tell_all(),
            "abandoned": cancel_abandoned(self._engine, self._clock, self._cancelled),
        }
