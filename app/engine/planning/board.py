"""The board of a run: what is recorded, what is ready, what runs. Pure: plan and record in, decisions out.

Built from a record it stands where the run stood, so recovery is the same code as going on: all that is recorded is
adopted before anything new begins. Each settled step touches its own edges only, so a decision costs the same however
long the run is.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.plan import ANY_PORT, Edge, Plan, Step
from app.engine.planning.conditions import holds
from app.engine.planning.decision import Decision, End, Wait
from app.engine.planning.frame import Frame
from app.engine.planning.loops import LoopState, iterations_begun
from app.engine.planning.record import Record, StepState, rfc3339
from app.engine.planning.transitions import Failed, begin, cancel, fail, skip, succeed

MAX_PARALLEL_ATTEMPTS = 64
MAX_VISITS = 1_000
MAX_STEP_INSTANCES = 20_000
"""Of one run, all iterations counted: what a worker can hold, and look through in one go."""


class Board:
    """Where a run stands. `facts` are the names that expressions see besides the steps."""

    def __init__(
        self,
        plan: Plan,
        facts: Mapping[str, Any],
        started_at: datetime,
        recorded: Record | None = None,
    ) -> None:
        self.record: dict[str, StepState] = {}
        self.running: dict[str, None] = {}
        """Paths of the attempts that run, in the order in which they started."""
        seconds = plan.timeout_seconds
        self.deadline = None if seconds is None else started_at + timedelta(seconds=seconds)
        self._plan = plan
        self._facts = facts
        self._recorded = dict(recorded or {})
        self._root = Frame(plan)
        self._places: dict[str, tuple[Frame, Step]] = {}
        self._known: deque[tuple[Frame, str, str]] = deque()
        """Decided steps that are recorded: (level, step, path)."""
        self._decided: deque[tuple[Frame, str, str, bool]] = deque()
        """Decided steps that are not: (level, step, path, whether it is to start)."""
        self._over: deque[Frame] = deque()
        """Iterations in which nothing more happens, to be closed."""
        self._retrying: dict[str, datetime] = {}
        self._loops: dict[str, LoopState] = {}
        self._changes: dict[tuple[str, int], StepState] = {}
        self._started: list[StepState] = []
        self._now = started_at
        self._next_seq = len(self._recorded)
        self._begun = iterations_begun(self._recorded)
        self._enter(self._root)
        while self._known:
            self._adopt(*self._known.popleft())
        self._resumed = list(self._loops.values())
        self._adopted = bool(recorded)

    def step(self, path: str) -> Step:
        """Return the step of an instance."""
        return self._places[path][1]

    def scope(self, path: str) -> dict[str, Any]:
        """Return what the expressions of an attempt see; `now` is its recorded start, so that a replay is stable."""
        state = self.record[path]
        return self._scope(self._places[path][0], state.started_at or self._now)

    def upstream(self, path: str) -> dict[str, Any]:
        """Return the outputs of the steps that led to an instance, by id."""
        frame, step = self._places[path]
        return frame.upstream(step.id)

    def look(self, settled: Sequence[StepState], now: datetime, *, start: bool = True) -> Decision:
        """Take over what became of attempts, and return what happens next. Without `start`, nothing new begins."""
        self._now, self._changes, self._started = now, {}, []
        for state in settled:
            self._take(state)
        if self.deadline is not None and now >= self.deadline:
            return self._end(End(RunStatus.TIMED_OUT, error=_timed_out(self._plan)))
        if start:
            self._go_on()
        if self._root.over:
            return self._end(self._outcome())
        waits = tuple(
            Wait(path, "retry", until) for path, until in self._retrying.items() if until > now
        )
        return Decision(tuple(self._changes.values()), tuple(self._started), waits)

    def _go_on(self) -> None:
        """Begin what can begin, until nothing more follows from it."""
        self._resume()
        self._close_iterations()
        self._wake()
        while self._decided and len(self.running) < MAX_PARALLEL_ATTEMPTS:
            self._carry_out(*self._decided.popleft())
            self._close_iterations()

    def _resume(self) -> None:
        """Once after adopting a record: do what begins no step, for only then it is known where nothing may begin."""
        while self._resumed:
            self._iterate(self._resumed.pop())
        while self._adopted:
            self._close_iterations()
            item = next((item for item in self._decided if not item[3] or item[0].halted), None)
            if item is None:
                self._adopted = False
            else:
                self._decided.remove(item)
                self._carry_out(*item)

    def _carry_out(self, frame: Frame, name: str, path: str, starts: bool) -> None:
        frame.queued -= 1
        step = frame.plan.steps[name]
        if path == frame.path(name):  # else the cycle has left that iteration behind
            self._places[path] = (frame, step)
            if not starts:
                self._put(skip(path, step.type, self._seq(), self._now), settle=frame)
            elif not frame.halted:
                self._begin(frame, step, path)
        self._notice(frame)

    def _adopt(self, frame: Frame, name: str, path: str) -> None:
        """Put a recorded state where it stood."""
        frame.queued -= 1
        step, state = frame.plan.steps[name], self._recorded.pop(path)
        self._places[path] = (frame, step)
        self.record[path] = state
        if state.settled:
            self._settle(frame, step, state)
        else:
            frame.active += 1
            if state.retry_at is not None:
                self._retrying[path] = state.retry_at
            elif step.loop is not None:
                self._open(frame, step, state)
            else:
                self.running[path] = None
        self._notice(frame)

    def _notice(self, frame: Frame) -> None:
        """Take note of a level where nothing new is to start, or nothing more happens."""
        if frame.halted:
            self._give_up_retries()
        if frame.over and frame.loop is not None:
            self._over.append(frame)

    def _begin(self, frame: Frame, step: Step, path: str) -> None:
        state = begin(path, step.type, self._seq(), self._now, None)
        try:
            self._require_room()
            passes = step.when is None or holds(step.when, self._scope(frame, self._now), "when")
        except AutomateError as error:
            self._put(fail(state, Failed(error.code, error.detail), self._now), settle=frame)
            return
        if not passes:
            passed_by = skip(path, step.type, state.seq, self._now)
            self._put(replace(passed_by, port=ANY_PORT), settle=frame)
            return
        frame.active += 1
        self._put(state)
        if step.loop is not None:
            self._iterate(self._open(frame, step, state))
        else:
            self._run(state)

    def _require_room(self) -> None:
        if self._next_seq > MAX_STEP_INSTANCES:
            raise TooManySteps(
                f"The run has come to more than {MAX_STEP_INSTANCES:,} steps, those of each iteration counted: "
                "loop over less, or start a workflow per part."
            )

    def _seq(self) -> int:
        self._next_seq += 1
        return self._next_seq - 1

    def _run(self, state: StepState) -> None:
        self.running[state.path] = None
        self._started.append(state)

    def _wake(self) -> None:
        for path in [path for path, due in self._retrying.items() if due <= self._now]:
            if len(self.running) >= MAX_PARALLEL_ATTEMPTS:
                return
            del self._retrying[path]
            before = self.record[path]
            state = begin(path, before.type, before.seq, self._now, before)
            self._put(state)
            self._run(state)

    def _take(self, state: StepState) -> None:
        """Take over the end of an attempt."""
        frame, step = self._places[state.path]
        self.running.pop(state.path, None)
        self._put(state)
        if state.retry_at is not None:
            self._retrying[state.path] = state.retry_at
        else:
            frame.active -= 1
            self._settle(frame, step, state)
        self._notice(frame)

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

    def _give_up_retries(self) -> None:
        """Where nothing new starts, no next attempts start either."""
        for path in [path for path in self._retrying if self._places[path][0].halted]:
            del self._retrying[path]
            frame = self._places[path][0]
            frame.active -= 1
            if frame.over and frame.loop is not None:
                self._over.append(frame)

    def _enter(self, frame: Frame) -> None:
        for name in frame.plan.entries:
            frame.decided.add(name)
            self._queue(frame, name, starts=True)

    def _queue(self, frame: Frame, name: str, starts: bool) -> None:
        frame.queued += 1
        path = frame.path(name)
        if path in self._recorded:
            self._known.append((frame, name, path))
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
            self._give_up_retries()

    def _scope(self, frame: Frame, now: datetime) -> dict[str, Any]:
        return {**self._facts, **frame.scope(), "now": rfc3339(now)}

    def _outcome(self) -> End:
        failure = self._root.failure
        if failure is not None:
            return End(RunStatus.FAILED, error={"step": failure.path, **(failure.error or {})})
        return End(RunStatus.SUCCEEDED, output=self._root.output)

    def _end(self, end: End) -> Decision:
        for state in list(self.record.values()):
            if state.status is AttemptStatus.RUNNING:
                self._put(cancel(state, self._now))
        return Decision(tuple(self._changes.values()), end=end)


def _timed_out(plan: Plan) -> dict[str, Any]:
    return {
        "code": "run_timed_out",
        "message": f"The run took longer than its timeout_seconds ({plan.timeout_seconds:g}).",
    }


class TooManySteps(AutomateError):
    """The run has come to too many steps."""

    code = "too_many_steps"
