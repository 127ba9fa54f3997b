"""The progress of a run through its plan: levels, loops, what is settled and what that decides. Pure.

Kept apart from the board for its length alone: the board asks, this answers and remembers.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from heapq import heappush
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus
from app.engine.language.plan import Edge, Plan, Step
from app.engine.planning.conditions import holds
from app.engine.planning.frame import Frame
from app.engine.planning.loops import LoopState, iterations_begun
from app.engine.planning.record import Record, StepState, Waiting, finish_order, rfc3339
from app.engine.planning.transitions import cancel, fail, succeed

MAX_VISITS = 1_000


class Progress:
    """Where a run stands in its plan. `facts` are the names that expressions see besides the steps."""

    def __init__(
        self, plan: Plan, facts: Mapping[str, Any], started_at: datetime, recorded: Record
    ) -> None:
        self.record: dict[str, StepState] = {}
        self._plan = plan
        self._facts = facts
        self._recorded = dict(recorded)
        self._root = Frame(plan)
        self._places: dict[str, tuple[Frame, Step]] = {}
        self._known: list[tuple[tuple[float, int], str, Frame, str]] = []
        """Decided steps that are recorded, the first to have ended at the top: (when, path, level, step)."""
        self._decided: deque[tuple[Frame, str, str, bool]] = deque()
        """Decided steps that are not: (level, step, path, whether it is to start)."""
        self._over: deque[Frame] = deque()
        """Iterations in which nothing more happens, to be closed."""
        self._retrying: dict[str, datetime] = {}
        self._waiting: dict[str, Waiting] = {}
        self._loops: dict[str, LoopState] = {}
        self._changes: dict[tuple[str, int], StepState] = {}
        self._now = started_at
        self._next_seq = 1 + max((state.seq for state in recorded.values()), default=-1)
        self._begun = iterations_begun(self._recorded)

    def _notice(self, frame: Frame) -> None:
        """Take note of a level where nothing new is to start, or nothing more happens."""
        if frame.halted:
            self._give_up_parked()
        self._notice_end(frame)

    def _notice_end(self, frame: Frame) -> None:
        if frame.over and frame.loop is not None:
            self._over.append(frame)

    def _seq(self) -> int:
        self._next_seq += 1
        return self._next_seq - 1

    def _put(self, state: StepState, settle: Frame | None = None) -> None:
        self.record[state.path] = state
        self._changes[state.path, state.attempt] = state
        if settle is not None:
            self._settle(settle, self._places[state.path][1], state)

    def _settle(self, frame: Frame, step: Step, state: StepState) -> None:
        if frame.path(step.id) != state.path:
            return  # of an iteration that the cycle has left behind
        scope_at = state.finished_at or self._now

        def edge_holds(edge: Edge) -> bool:
            return edge.condition is None or holds(
                edge.condition, self._scope(frame, scope_at), "condition"
            )

        try:
            for name, starts in frame.settle(step.id, state, edge_holds):
                self._queue(frame, name, starts)
                self._count_visits(frame, name)
        except AutomateError as error:
            frame.failure = replace(state, error={"code": error.code, "message": error.detail})

    def _count_visits(self, frame: Frame, name: str) -> None:
        if frame.cycles is not None and frame.cycles.visits[name] >= MAX_VISITS:
            error = {
                "code": "visit_limit",
                "message": f"The cycle came back to {name!r} more than {MAX_VISITS} times: check the conditions of its edges.",
            }
            frame.failure = StepState(frame.path(name), "", AttemptStatus.FAILED, 0, 0, error=error)

    def _give_up_parked(self) -> None:
        """Where nothing new starts, no next attempts start either, and nothing is waited for."""
        for path in [path for path in self._retrying if self._places[path][0].halted]:
            del self._retrying[path]
            self._unpark(path)
        for path in [path for path in self._waiting if self._places[path][0].halted]:
            del self._waiting[path]
            self._put(cancel(self.record[path], self._now))
            self._unpark(path)

    def _unpark(self, path: str) -> None:
        frame = self._places[path][0]
        frame.active -= 1
        self._notice_end(frame)

    def _enter(self, frame: Frame) -> None:
        for name in frame.plan.entries:
            frame.decided.add(name)
            self._queue(frame, name, starts=True)

    def _queue(self, frame: Frame, name: str, starts: bool) -> None:
        frame.queued += 1
        path = frame.path(name)
        if path in self._recorded:
            heappush(self._known, (finish_order(self._recorded[path]), path, frame, name))
        else:
            self._decided.append((frame, name, path, starts))

    def _open(self, frame: Frame, step: Step, state: StepState) -> LoopState:
        """Open a loop, and those of its iterations that are recorded."""
        assert step.loop is not None  # noqa: S101 - for the type checker; the callers have looked
        loop = self._loops[state.path] = LoopState(step.loop, state.path, frame)
        try:
            loop.take_items(self._scope(frame, state.started_at or self._now))
        except AutomateError as error:
            loop.fail(error)
        for _ in range(self._begun.get(state.path, 0)):
            self._enter(loop.next_frame())
        return loop

    def _iterate(self, loop: LoopState) -> None:
        """Begin as many iterations as may be open; end the loop when there is nothing more."""
        while loop.wants_more and self._may_begin(loop):
            self._enter(loop.next_frame())
        if loop.over:
            self._finish(loop)

    def _finish(self, loop: LoopState) -> None:
        frame, state = loop.outer, self.record[loop.path]
        del self._loops[loop.path]
        if loop.failure is not None:
            state = fail(state, loop.failure, self._now)
        elif frame.halted:
            state = cancel(state, self._now)
        else:
            state = succeed(state, loop.output, self._now)
        frame.active -= 1
        self._put(state, settle=frame)
        self._notice(frame)

    def _may_begin(self, loop: LoopState) -> bool:
        """Ask a loop's condition."""
        condition = loop.loop.condition
        if condition is None:
            return True
        scope = self._scope(loop.latest or loop.outer, self._now) | dict(loop.local())
        try:
            loop.stopped = not holds(condition, scope, "condition")
            if not loop.stopped:
                loop.require_one_more()
        except AutomateError as error:
            loop.fail(error)
        return loop.wants_more

    def _close_iterations(self) -> None:
        while self._over:
            frame = self._over.popleft()
            loop = frame.loop
            if loop is not None and loop.close(frame):
                self._ask_to_stop(loop, frame)
                self._iterate(loop)

    def _ask_to_stop(self, loop: LoopState, frame: Frame) -> None:
        stop_when = loop.loop.stop_when
        if stop_when is not None and not frame.halted_around:
            scope = self._scope(frame, self._now) | {"output": loop.results[loop.index(frame)]}
            try:
                loop.stopped = holds(stop_when, scope, "stop_when") or loop.stopped
            except AutomateError as error:
                loop.fail(error)
        if loop.failure is not None:
            self._give_up_parked()

    def _scope(self, frame: Frame, now: datetime) -> dict[str, Any]:
        return {**self._facts, **frame.scope(), "now": rfc3339(now)}
