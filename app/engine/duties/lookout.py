"""Duty: ask the database, once for all duties that wait for something to be due, which of them has work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Engine

from app.core.clock import Clock
from app.db.session import reading
from app.db.statement import Statement
from app.db.types import UtcDateTime
from app.engine import store as runs
from app.engine.approvals import store as approvals
from app.engine.children import store as children
from app.engine.duties.events import GRACE
from app.engine.duties.held_runs import GRACE as LIFTED_GRACE
from app.engine.events import store as events
from app.engine.guards import store as guards
from app.engine.hooks import store as hooks
from app.engine.scheduling import store as schedules
from app.engine.waiting import store as waits

ROUND_SECONDS = 0.5
"""How long something that was not foreseen waits at most: work that others have just made."""
SELDOM = 4
"""In one of so many rounds, the dear questions are asked as well."""
MIN_ROUND_SECONDS = 0.1
"""Also while there is work: what comes after it is seen only when it is done."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A duty, and when it has work: SQL of one time or none, and how long that is left to others."""

    duty: str
    time_of: str
    patience: timedelta = timedelta(0)
    seldom: bool = False
    """It takes a look at every open wait, and finds only what a follow-up has missed."""


WATCHES = (
    Watch("timers", waits.NEXT_DUE),
    Watch("approval_timeouts", approvals.NEXT_DUE),
    Watch("schedules", schedules.NEXT_DUE),
    Watch("events", events.FIRST_FRESH_EVENT, GRACE),
    Watch("events", events.FIRST_FRESH_WAIT, GRACE),
    Watch("events", events.NEXT_EXPIRY),
    Watch("sweep", runs.NEXT_DUE),
    Watch("children", children.FIRST_ENDED, seldom=True),
    Watch("children", children.FIRST_ABANDONED),
    Watch("hooks", hooks.FIRST_HOOKED),
    Watch("hook_calls", hooks.NEXT_CALL),
    Watch("held_runs", guards.NEXT_EXPIRY),
    Watch("held_runs", guards.FIRST_LIFTED, LIFTED_GRACE),
)


def _asking(watches: Sequence[Watch]) -> Statement:
    columns = [f"({watch.time_of}) AS at_{number}" for number, watch in enumerate(watches)]
    names = [f"at_{number}" for number in range(len(watches))]
    return Statement(
        f"SELECT {', '.join(columns)}",
        returns=dict.fromkeys(names, UtcDateTime()),
    )


NEXT_TIMES = _asking(WATCHES)
OFTEN = tuple(watch for watch in WATCHES if not watch.seldom)
NEXT_TIMES_OFTEN = _asking(OFTEN)


class Callee(Protocol):
    """A duty's loop, which waits to be called."""

    def call(self) -> None:
        """Have a round done, soon."""
        ...


class Lookout:
    """Calls the duties that have work, when it is due, for one query tells when that will be.

    Were each to ask for itself, an idle worker would do little else: asking costs the same for one as for all.
    """

    name = "lookout"

    def __init__(self, engine: Engine, clock: Clock, callees: Mapping[str, Callee]) -> None:
        self._engine = engine
        self._clock = clock
        self._callees = callees
        self._round = 0
        self.interval_seconds = ROUND_SECONDS

    def run_once(self) -> Mapping[str, int]:
        """Ask once, and call whoever has work; returns nothing, for it does none."""
        self.interval_seconds = ROUND_SECONDS
        asks_all = self._round % SELDOM == 0
        self._round += 1
        watches, asking = (WATCHES, NEXT_TIMES) if asks_all else (OFTEN, NEXT_TIMES_OFTEN)
        with reading(self._engine) as connection:
            (times,) = asking.run(connection)
        now = self._clock.now()
        due = {watch: at + watch.patience for watch, at in zip(watches, times, strict=True) if at}
        for name in {watch.duty for watch, at in due.items() if at <= now}:
            self._callees[name].call()
        self.interval_seconds = _pause(now, min(due.values(), default=None))
        return {}


def _pause(now: datetime, first: datetime | None) -> float:
    """Return how many seconds to sleep: until the first work there is, within bounds."""
    seconds = (first - now).total_seconds() if first else ROUND_SECONDS
    return min(max(seconds, MIN_ROUND_SECONDS), ROUND_SECONDS)
