"""Pass runs on to the orchestrator as far as their lanes have room; nobody's runs wait behind those of another lane."""

import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import InterfaceError, OperationalError

from app.core.clock import Clock
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.engine.delivery.lanes import MIXED, QUEUES, Hint
from app.engine.slots import Slots

CLAIM_PAUSE_SECONDS = 0.5
WATCH_SECONDS = 0.05
"""How long a hint may lie in its queue while other lanes have no room."""
DIRECT_PATIENCE_SECONDS = 5.0
"""How long a duty waits for room; what it then leaves, the sweep finds again."""
log = get_logger(__name__)


class Taker:
    """Takes hints for one process. What has no room stays here, of one hint for each lane, until some slots are free.

    `take_now` may be called by any thread, all else by the one that reads the queues.
    """

    def __init__(
        self,
        advance: Callable[[Hint], Hint],
        slots: Slots,
        put_back: Callable[[Hint], object],
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._advance = advance
        self._slots = slots
        self._put_back = put_back
        self._clock = clock
        self._stopping = stopping
        self._left: dict[str, Sequence[str]] = {}
        self._queues_first = False

    def take(self, queue: str, hint: Hint) -> None:
        """Advance the runs of a hint. Those without room wait here when the queue is their lane's, else in that queue."""
        left = self._try(hint)
        self._left.update({lane: ids for lane, ids in left.items() if lane == queue})
        others = {lane: ids for lane, ids in left.items() if lane != queue}
        if others:
            self._put_back(others)

    def go_on(self) -> set[str]:
        """Advance what is left here, as far as there is room; returns the queues of which no hint is to be taken now.

        When that takes the last free slot, the next one is for the queues.
        """
        full = self._slots.full(QUEUES)
        going = {} if self._queues_first else self._ready(full)
        if going:
            rest = self._try(going)
            waiting = {lane: ids for lane, ids in rest.items() if len(ids) == len(going[lane])}
            self._left.update({**waiting, **rest})  # who has gone on is last the next time
            full = self._slots.full(QUEUES)
        self._queues_first = bool(going) and MIXED in full
        return full | self._left.keys()

    def watch(self, queues: set[str]) -> None:
        """Wait a moment for room in one of the queues' lanes."""
        self._slots.wait_for_room(queues, WATCH_SECONDS)

    def take_now(self, runs: Hint) -> None:
        """Advance runs that cannot be put on a queue, and wait for room, but not for long.

        Raises:
            DBAPIError, Unavailable: nothing can be claimed right now.
        """
        until = self._clock.monotonic() + DIRECT_PATIENCE_SECONDS
        while runs := self._advance(runs):
            if not self._slots.wait_for_room(runs, until - self._clock.monotonic()):
                return

    def put_back(self) -> None:
        """Return what is left here to the queues."""
        if self._left:
            self._put_back(self._left)
            self._left = {}

    def _ready(self, full: set[str]) -> dict[str, Sequence[str]]:
        """Take out what is left of lanes that have room."""
        return {lane: self._left.pop(lane) for lane in [*self._left] if lane not in full}

    def _try(self, hint: Hint) -> Hint:
        """Advance runs once the database answers; returns those that have no room, or all when the process stops."""
        while True:
            try:
                return self._advance(hint)
            except (OperationalError, InterfaceError, Unavailable) as error:
                log.warning("claim_postponed", runs=sum(map(len, hint.values())), reason=str(error))
            if self._stopping.wait(CLAIM_PAUSE_SECONDS):
                return hint
