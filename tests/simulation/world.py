"""Workers, a store, a clock and a queue in memory, driving the real board through the real `ActiveRun`.

What `claims.py`, `orchestrator.py`, `journal.py` and the duties do around it is modelled in a few lines each. A commit is
atomic: a worker dies before it or after it, never within.
"""

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from app.core.statuses import FINAL_RUN_STATUSES, AttemptStatus, RunStatus
from app.engine.active_run import FIRST_EPOCH, ActiveRun
from app.engine.language.plan import Plan
from app.engine.planning import board
from app.engine.planning.board import Board
from app.engine.planning.record import StepState, latest
from app.engine.planning.transitions import MAX_LOST_ATTEMPTS, lose, settle
from tests.simulation.fate import Calm, Fate
from tests.simulation.graphs import is_steady
from tests.simulation.rules import (
    LOOPS,
    check_adopted,
    check_commit,
    check_complete,
    check_halt,
    check_rebuilt,
    check_started,
)

START = datetime(2026, 11, 21, tzinfo=UTC)
FACTS = {"input": {}, "run": {"id": "r"}, "workflow": {"id": "w"}}
LEASE = timedelta(seconds=9)
SWEEP = timedelta(seconds=5)
GRACE = timedelta(seconds=1)
MAX_EVENTS = 20_000
Rows = dict[tuple[str, int], StepState]


@dataclass(eq=False)
class Hold:
    """A run in a worker's hands."""

    run: ActiveRun
    alive: bool = True
    draining: bool = False
    tasks: list[tuple[datetime, StepState]] = field(default_factory=list)


class World:
    """One run, from its trigger to its end."""

    def __init__(self, plan: Plan, fate: Fate, chaos: Calm, fleeting: Collection[str] = ()) -> None:
        self.plan = plan
        self._fleeting = fleeting
        self.steady = is_steady(plan)
        self.rows: Rows = {}
        self.status = RunStatus.QUEUED
        self.output: Any = None
        self.error: Any = None
        self._fate = fate
        self._chaos = chaos
        self._now = START
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = count()
        self._epoch = 0
        self._owned = False
        self._crowded = False
        self._wake_at = START

    def play(self) -> "World":
        """Let time pass until the run ends."""
        self._after(timedelta(), self._sweep)
        for _ in range(MAX_EVENTS):
            if self.status in FINAL_RUN_STATUSES:
                return self
            assert self._events, f"nothing would ever wake the run, which is {self.status}"
            self._now, _, event = heapq.heappop(self._events)
            event()
        raise AssertionError("the run does not end")

    @property
    def record(self) -> dict[str, StepState]:
        """Return what the store would give to the next worker."""
        return latest(self.rows.values())

    def _after(self, delay: timedelta, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + delay, next(self._numbers), event))

    def _sweep(self) -> None:
        """Send hints for a run that is due and unclaimed."""
        if not self._claimable:
            return
        if self._chaos.loses():
            self._after(SWEEP, self._sweep)
            return
        for _ in range(2 if self._chaos.doubles() else 1):
            self._after(timedelta(), self._claim)

    @property
    def _claimable(self) -> bool:
        due = self.status in {RunStatus.QUEUED, RunStatus.WAITING} and self._wake_at <= self._now
        return due and not self._owned

    def _claim(self) -> None:
        """Take the run, and record its first steps in the same commit."""
        if not self._claimable:
            return
        if self._chaos.strikes():
            self._after(SWEEP, self._sweep)
            return
        record = self._without_lost()
        lost = [state for state in record.values() if state.status is AttemptStatus.LOST]
        adopted = Board(self.plan, FACTS, START, record)
        check_adopted(adopted, record)
        hold = Hold(ActiveRun("run", self._epoch + 1, adopted, fleeting=self._fleeting))
        checkpoint = hold.run.advance((), (), self._now, draining=False)
        self._epoch, self._owned, self.status = hold.run.epoch, True, RunStatus.RUNNING
        self._commit(hold, (*lost, *checkpoint.states), (), checkpoint.leave)
        self._go_on(hold, checkpoint.leave)

    def _without_lost(self) -> dict[str, StepState]:
        return {
            path: lose(state, "retry", self._now, lambda: 0.0)
            if state.status is AttemptStatus.RUNNING and state.type not in LOOPS
            else state
            for path, state in self.record.items()
        }

    def _step(self, hold: Hold, settled: Sequence[StepState]) -> None:
        checkpoint = hold.run.advance(settled, (), self._now, draining=hold.draining)
        if self._dies(hold):
            return
        if not self._commit(hold, checkpoint.states, settled, checkpoint.leave):
            hold.alive = False
            return
        self._go_on(hold, checkpoint.leave)

    def _go_on(self, hold: Hold, leave: Mapping[str, Any] | None) -> None:
        if leave is not None:
            hold.alive = False
            return
        if self._dies(hold):
            return
        for state in hold.run.started:
            unrecorded = hold.run.epoch == FIRST_EPOCH and state.type in self._fleeting
            check_started(state, self.rows, unrecorded=unrecorded)
            ends_at = self._now + self._fate.duration(state)
            hold.tasks.append((ends_at, state))
            self._after(ends_at - self._now, lambda: self._ended(hold))
        seconds = hold.run.seconds_to_next_wait(self._now)
        if seconds is not None:
            assert seconds > 0, "the worker would spin"
            self._after(timedelta(seconds=seconds), lambda: self._poke(hold))
        self._disturb(hold)

    def _ended(self, hold: Hold) -> None:
        """Hand over every attempt that has ended by now."""
        done = [state for ends_at, state in hold.tasks if ends_at <= self._now]
        if not hold.alive or not done:
            return
        hold.tasks = [task for task in hold.tasks if task[0] > self._now]
        settled = []
        for state in done:
            step = hold.run.board.step(state.path)
            outcome = self._fate.outcome(step, state)
            settled.append(settle(state, outcome, step.retry, self._now, lambda: 0.0))
        self._step(hold, settled)

    def _poke(self, hold: Hold) -> None:
        if hold.alive:
            self._step(hold, ())

    def _commit(
        self,
        hold: Hold,
        states: Sequence[StepState],
        settled: Sequence[StepState],
        leave: Mapping[str, Any] | None,
    ) -> bool:
        """Write, unless another worker holds the run by now."""
        if not self._owned or self._epoch != hold.run.epoch:
            return False
        check_commit(self.rows, states)
        if self.steady:
            check_halt(self.plan, self.rows, states, settled)
        self.rows.update({(state.path, state.attempt): state for state in states})
        if leave is not None:
            self._owned = False
            self.status, self._wake_at = leave["status"], leave["wake_at"] or self._now
            self.output, self.error = leave["output"], leave["error"]
            if self.status not in FINAL_RUN_STATUSES:
                self._after(max(timedelta(), self._wake_at - self._now), self._sweep)
        if self.status is RunStatus.SUCCEEDED:
            check_complete(self.plan, hold.run.board)
        if self.status not in FINAL_RUN_STATUSES:
            rebuilt = Board(self.plan, FACTS, START, self.record)
            self._crowded |= len(hold.run.board.running) >= board.MAX_PARALLEL_ATTEMPTS
            settled_down = not hold.draining and not self._crowded
            live = hold.run.board
            if all((path, live.record[path].attempt) in self.rows for path in live.running):
                check_rebuilt(live, rebuilt, self._now, settled=settled_down)
        return True

    def _dies(self, hold: Hold) -> bool:
        if self._may_lose_more and self._chaos.strikes():
            hold.alive = False
            self._reap_later(hold)
        return not hold.alive

    def _disturb(self, hold: Hold) -> None:
        if self._may_lose_more and self._chaos.freezes():
            self._reap_later(hold)
        elif not hold.draining and self._chaos.drains():
            hold.draining = True
            self._after(GRACE, lambda: self._interrupt(hold))

    @property
    def _may_lose_more(self) -> bool:
        """Tell whether no step would be failed for having lost its worker too often."""
        return all(state.lost < MAX_LOST_ATTEMPTS - 1 for state in self.record.values())

    def _interrupt(self, hold: Hold) -> None:
        if hold.alive:
            hold.alive = False
            checkpoint = hold.run.interrupted(self._now, lambda _: "retry")
            self._commit_interrupted(hold, checkpoint.states, checkpoint.leave)

    def _commit_interrupted(
        self, hold: Hold, states: Sequence[StepState], leave: Mapping[str, Any] | None
    ) -> None:
        if self._owned and self._epoch == hold.run.epoch:
            assert leave is not None
            check_commit(self.rows, states)
            self.rows.update({(state.path, state.attempt): state for state in states})
            self._owned, self.status, self._wake_at = False, leave["status"], self._now
            self._after(timedelta(), self._sweep)

    def _reap_later(self, hold: Hold) -> None:
        """Give the run back once the worker's lease is over."""

        def reap() -> None:
            if self._owned and self._epoch == hold.run.epoch:
                self._owned, self.status, self._wake_at = False, RunStatus.QUEUED, self._now
                self._sweep()

        self._after(LEASE, reap)
