"""The board of a run: what is recorded, what is ready, what runs. Pure: plan and record in, decisions out.

Built from a record it stands where the run stood, so recovery is the same code as going on: all that is recorded is
adopted before anything new begins. Each settled step touches its own edges only, so a decision costs the same however
long the run is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.plan import ANY_PORT, Plan, Step
from app.engine.planning.conditions import holds
from app.engine.planning.decision import RETRY, Decision, End, Wait
from app.engine.planning.frame import Frame
from app.engine.planning.progress import Progress
from app.engine.planning.record import GOING_ON, Record, StepState, finish_order
from app.engine.planning.transitions import Failed, begin, cancel, fail, skip

MAX_PARALLEL_ATTEMPTS = 64
MAX_STEP_INSTANCES = 20_000
"""Of one run, all iterations counted: what a worker can hold, and look through in one go."""


class Board(Progress):
    """Where a run stands, and what happens next. `facts` are the names that expressions see besides the steps."""

    def __init__(
        self,
        plan: Plan,
        facts: Mapping[str, Any],
        started_at: datetime,
        recorded: Record | None = None,
        superseded: Mapping[str, int] | None = None,
    ) -> None:
        """Stand where the record stands. `superseded` counts attempts at steps that are only history by now."""
        super().__init__(plan, facts, started_at, recorded or {})
        self.running: dict[str, None] = {}
        """Paths of the attempts that run, in the order in which they started."""
        seconds = plan.timeout_seconds
        self.deadline = None if seconds is None else started_at + timedelta(seconds=seconds)
        self._superseded = superseded or {}
        self._started: list[StepState] = []
        self._enter(self._root)
        while self._known:
            _, path, frame, name = heappop(self._known)
            self._adopt(frame, name, path)
        self._resumed = list(self._loops.values())
        self._adopted = bool(recorded)
        self._looked = False

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

    def ports_in_use(self, path: str) -> frozenset[str]:
        """Return the ports of an instance's step from which an edge leads on by name."""
        frame, step = self._places[path]
        return frame.plan.ports_in_use[step.id]

    def look(self, settled: Sequence[StepState], now: datetime, *, start: bool = True) -> Decision:
        """Take over what became of attempts, and return what happens next. Without `start`, nothing new begins."""
        self._now, self._changes, self._started = now, {}, []
        for state in settled:
            self._waiting.pop(state.path, None)  # no longer parked, whatever the others bring about
        for state in sorted(settled, key=finish_order):
            self._take(state)
        if not self._looked:  # what was recorded may halt levels in which something is parked
            self._looked = True
            self._give_up_parked()
        if self.deadline is not None and now >= self.deadline:
            return self._end(End(RunStatus.TIMED_OUT, error=_timed_out(self._plan)))
        if start:
            self._go_on()
        if self._root.over:
            return self._end(self._outcome())
        return Decision(tuple(self._changes.values()), tuple(self._started), self._waits())

    def _waits(self) -> tuple[Wait, ...]:
        retries = [
            Wait(path, RETRY, until) for path, until in self._retrying.items() if until > self._now
        ]
        waits = [
            Wait(path, wait.kind.value, wait.until, wait.shown)
            for path, wait in self._waiting.items()
        ]
        return (*retries, *waits)

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
            elif state.wait is not None:
                self._waiting[path] = state.wait
            elif step.loop is not None:
                self._open(frame, step, state)
            else:
                self.running[path] = None
        self._notice_end(frame)

    def _begin(self, frame: Frame, step: Step, path: str) -> None:
        state = begin(path, step.type, self._seq(), self._now, None)
        if path in self._superseded:
            state = replace(state, attempt=1 + self._superseded[path])
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
        """Take over the end of an attempt, or of a wait."""
        frame, step = self._places[state.path]
        self.running.pop(state.path, None)
        self._put(state)
        if state.retry_at is not None:
            self._retrying[state.path] = state.retry_at
        elif state.status is AttemptStatus.WAITING and state.wait is not None:
            self._waiting[state.path] = state.wait
        else:
            frame.active -= 1
            self._settle(frame, step, state)
        self._notice(frame)

    def _outcome(self) -> End:
        failure = self._root.failure
        if failure is not None:
            return End(RunStatus.FAILED, error={"step": failure.path, **(failure.error or {})})
        return End(RunStatus.SUCCEEDED, output=self._root.output)

    def _end(self, end: End) -> Decision:
        for state in list(self.record.values()):
            if state.status in GOING_ON:
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
