"""The board of a run: what is recorded, what is ready, what runs. Pure: plan and record in, decisions out.

Built from a record it stands where the run stood, so recovery is the same code as going on. Each settled step touches
its own edges only, so a decision costs the same however long the run is.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.expressions import Expression
from app.engine.language.plan import ANY_PORT, Edge, Plan, Step
from app.engine.planning.frame import Frame
from app.engine.planning.loops import LoopState
from app.engine.planning.record import Record, StepState, rfc3339
from app.engine.planning.transitions import Failed, begin, cancel, fail, skip, succeed

MAX_PARALLEL_ATTEMPTS = 64
MAX_VISITS = 1_000


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that is parked until a time."""

    path: str
    kind: str
    until: datetime


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    status: RunStatus
    output: Any = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens next: the states to be recorded, those of them that start attempts, the waits, and the end."""

    changes: tuple[StepState, ...] = ()
    started: tuple[StepState, ...] = ()
    waits: tuple[Wait, ...] = ()
    end: End | None = None


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
        self._decided: deque[tuple[Frame, str, bool]] = deque()
        self._retrying: dict[str, datetime] = {}
        self._loops: dict[str, LoopState] = {}
        self._changes: dict[tuple[str, int], StepState] = {}
        self._started: list[StepState] = []
        self._now = started_at
        self._next_seq = len(self._recorded)
        self._enter(self._root)

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
        waits = tuple(Wait(path, "retry", until) for path, until in self._retrying.items())
        return Decision(tuple(self._changes.values()), tuple(self._started), waits)

    def _go_on(self) -> None:
        """Begin what can begin, until nothing more follows from it."""
        self._wake()
        while True:
            while self._decided and len(self.running) < MAX_PARALLEL_ATTEMPTS:
                self._carry_out(*self._decided.popleft())
            over = next(self._iterations_over(), None)
            if over is None:
                return
            self._close(over)

    def _carry_out(self, frame: Frame, name: str, starts: bool) -> None:
        frame.queued -= 1
        step, path = frame.plan.steps[name], frame.path(name)
        self._places[path] = (frame, step)
        known = self._recorded.pop(path, None)
        if known is not None:
            self._adopt(frame, step, known)
        elif not starts:
            self._put(skip(path, step.type, self._seq(), self._now), settle=frame)
        elif frame.failure is None:
            self._begin(frame, step, path)

    def _adopt(self, frame: Frame, step: Step, state: StepState) -> None:
        """Put a recorded state where it stood."""
        self.record[state.path] = state
        if state.settled:
            self._settle(frame, step, state)
            return
        if frame.failure is not None and state.retry_at is not None:
            return
        frame.active += 1
        if state.retry_at is not None:
            self._retrying[state.path] = state.retry_at
            self._wake()
        elif step.loop is not None:
            self._open(frame, step, state)
        else:
            self.running[state.path] = None

    def _begin(self, frame: Frame, step: Step, path: str) -> None:
        state = begin(path, step.type, self._seq(), self._now, None)
        try:
            passes = (
                self._holds(step.when, self._scope(frame, self._now), "when") if step.when else True
            )
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
            self._open(frame, step, state)
        else:
            self._run(state)

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
        if not state.settled:
            self._retrying[state.path] = state.retry_at or self._now
            if frame.failure is not None:
                self._give_up_retries(frame)
            return
        frame.active -= 1
        self._settle(frame, step, state)

    def _put(self, state: StepState, settle: Frame | None = None) -> None:
        self.record[state.path] = state
        self._changes[state.path, state.attempt] = state
        if settle is not None:
            self._settle(settle, self._places[state.path][1], state)

    def _settle(self, frame: Frame, step: Step, state: StepState) -> None:
        if frame.path(step.id) != state.path:
            return  # of an iteration that the cycle has left behind
        scope_at = state.finished_at or self._now

        def holds(edge: Edge) -> bool:
            return edge.condition is None or self._holds(
                edge.condition, self._scope(frame, scope_at), "condition"
            )

        try:
            for name, starts in frame.settle(step.id, state, holds):
                self._queue(frame, name, starts)
                self._count_visits(frame, name)
        except AutomateError as error:
            frame.failure = replace(state, error={"code": error.code, "message": error.detail})
        if frame.failure is not None:
            self._give_up_retries(frame)

    def _count_visits(self, frame: Frame, name: str) -> None:
        if frame.cycles is not None and frame.cycles.visits[name] >= MAX_VISITS:
            error = {
                "code": "visit_limit",
                "message": f"The cycle came back to {name!r} more than {MAX_VISITS} times: check the conditions of its edges.",
            }
            frame.failure = StepState(frame.path(name), "", AttemptStatus.FAILED, 0, 0, error=error)

    def _give_up_retries(self, frame: Frame) -> None:
        """Where a step has failed the level, nothing new starts: no next attempts either."""
        for path in [path for path in self._retrying if self._places[path][0] is frame]:
            del self._retrying[path]
            frame.active -= 1

    def _enter(self, frame: Frame) -> None:
        for name in frame.plan.entries:
            frame.decided.add(name)
            self._queue(frame, name, starts=True)

    def _queue(self, frame: Frame, name: str, starts: bool) -> None:
        frame.queued += 1
        self._decided.append((frame, name, starts))

    def _open(self, frame: Frame, step: Step, state: StepState) -> None:
        assert step.loop is not None  # noqa: S101 - for the type checker; the callers have looked
        loop = self._loops[state.path] = LoopState(step.loop, state.path, frame, None)
        scope = self._scope(frame, state.started_at or self._now)
        try:
            if step.loop.items is not None:
                loop.items = _items(step.loop.items.evaluate(scope), step.loop.max_iterations)
        except AutomateError as error:
            loop.fail({"code": error.code, "message": error.detail})
        self._iterate(loop)

    def _iterate(self, loop: LoopState) -> None:
        """Begin as many iterations as may be open; end the loop when there is nothing more."""
        while loop.wants_more and self._may_begin(loop):
            self._enter(loop.next_frame())
        if not loop.over:
            return
        frame, _ = self._places[loop.path]
        state = self.record[loop.path]
        del self._loops[loop.path]
        if loop.failure is not None:
            error = dict(loop.failure)
            state = fail(
                state,
                Failed(error.pop("code", "failed"), error.pop("message", ""), data=error or None),
                self._now,
            )
        else:
            state = succeed(state, loop.output, self._now)
        frame.active -= 1
        self._put(state, settle=frame)

    def _may_begin(self, loop: LoopState) -> bool:
        """Ask a loop's condition, unless the next iteration is recorded already."""
        condition = loop.loop.condition
        prefix = f"{loop.path}[{loop.begun}]."
        if condition is None or any(path.startswith(prefix) for path in self._recorded):
            return True
        scope = self._scope(loop.latest or loop.outer, self._now) | dict(loop.local())
        try:
            loop.stopped = not self._holds(condition, scope, "condition")
        except AutomateError as error:
            loop.fail({"code": error.code, "message": error.detail})
        if not loop.stopped and loop.failure is None and loop.begun >= loop.loop.max_iterations:
            loop.fail(_too_many(loop.loop.max_iterations))
        return not loop.stopped and loop.failure is None

    def _close(self, frame: Frame) -> None:
        loop = frame.loop
        assert loop is not None  # noqa: S101 - for the type checker; only iterations are closed
        loop.close(frame)
        stop_when = loop.loop.stop_when
        if stop_when is not None and loop.failure is None:
            scope = {
                **self._scope(frame, self._now),
                "output": loop.results[int(frame.local["index"])],
            }
            try:
                loop.stopped = self._holds(stop_when, scope, "stop_when")
            except AutomateError as error:
                loop.fail({"code": error.code, "message": error.detail})
        self._iterate(loop)

    def _iterations_over(self) -> Iterator[Frame]:
        return (
            frame for loop in self._loops.values() for frame in loop.open.values() if frame.over
        )

    def _scope(self, frame: Frame, now: datetime) -> dict[str, Any]:
        return {**self._facts, **frame.scope(), "now": rfc3339(now)}

    def _holds(self, expression: Expression, scope: Mapping[str, Any], name: str) -> bool:
        value = expression.evaluate(scope)
        if not isinstance(value, bool):
            raise NotBoolean(
                f"`{name}` must be true or false: compare something, as in `size(x) > 0`."
            )
        return value

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


class NotBoolean(AutomateError):
    """A condition is neither true nor false."""

    code = "type_mismatch"


class LoopRefused(AutomateError):
    """The items of a loop cannot be looped over."""

    code = "loop_refused"


def _items(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise LoopRefused(f"`items` must be a list; it is {type(value).__name__}.")
    if len(value) > most:
        raise LoopRefused(f"`items` has {len(value)} items; max_iterations allows {most}.")
    return value


def _too_many(most: int) -> dict[str, Any]:
    return {
        "code": "loop_limit",
        "message": f"The loop was to go on after {most} iterations (max_iterations).",
    }


def _timed_out(plan: Plan) -> dict[str, Any]:
    return {
        "code": "run_timed_out",
        "message": f"The run took longer than its timeout_seconds ({plan.timeout_seconds:g}).",
    }
