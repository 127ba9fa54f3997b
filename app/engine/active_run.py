"""A run that a worker holds: its plan, its record, and what is to be written down next. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.executor import LogLine
from app.engine.language.plan import Plan
from app.engine.planning.planner import End, Wait
from app.engine.planning.progress import Progress, progress
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, OnLost, Outcome, Succeeded, cancel, interrupt

MAX_RUN_OUTPUT_BYTES = 16 * 1024**2
"""How much the outputs of one run's steps may come to, as JSON: a worker holds hundreds of runs."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What goes into one commit for one run: attempts that ended or start, their log lines, and how the run leaves."""

    run_id: str
    epoch: int
    states: tuple[StepState, ...] = ()
    lines: tuple[tuple[StepState, LogLine, int], ...] = ()
    leave: Mapping[str, Any] | None = None

    def step_rows(self) -> Iterable[dict[str, Any]]:
        """Yield the rows of `steps`."""
        for state in self.states:
            yield {
                "run_id": self.run_id,
                "path": state.path,
                "attempt": state.attempt,
                "seq": state.seq,
                "type": state.type,
                "status": state.status,
                "port": state.port,
                "output": state.output,
                "error": state.error,
                "retry_at": state.retry_at,
                "started_at": state.started_at,
                "finished_at": state.finished_at,
            }

    def log_rows(self) -> Iterable[dict[str, Any]]:
        """Yield the rows of `run_logs`."""
        for state, line, number in self.lines:
            yield {
                "run_id": self.run_id,
                "path": state.path,
                "attempt": state.attempt,
                "line": number,
                "level": line.level,
                "message": line.message,
                "data": line.data,
                "at": line.at,
            }


Lines = Sequence[tuple[StepState, Sequence[LogLine]]]


@dataclass(slots=True)
class ActiveRun:
    """One run in a worker's hands, in one epoch."""

    id: str
    epoch: int
    plan: Plan
    facts: Mapping[str, Any]
    """What expressions see besides the steps: `input`, `run`, `workflow`."""
    started_at: datetime
    record: dict[str, StepState] = field(default_factory=dict)
    started: tuple[StepState, ...] = ()
    waits: tuple[Wait, ...] = ()
    output_bytes: int = 0
    dropped: bool = False
    """Set when another worker may hold it by now: nothing of it is to be written any more."""

    @property
    def deadline(self) -> datetime | None:
        """Return when the run times out."""
        seconds = self.plan.timeout_seconds
        return None if seconds is None else self.started_at + timedelta(seconds=seconds)

    def seconds_to_next_wait(self, now: datetime) -> float | None:
        """Return how long until a parked step is due while others still run; None when nothing is parked."""
        due = min((wait.until for wait in self.waits), default=None)
        return None if due is None else max(0.0, (due - now).total_seconds())

    def scope(self, state: StepState) -> dict[str, Any]:
        """Return what the expressions of an attempt see; its `now` is the recorded start, so that a replay is stable."""
        steps = {
            done.path: {"output": done.output, "status": done.status.value, "error": done.error}
            for done in self.record.values()
            if done.settled
        }
        return {**self.facts, "steps": steps, "now": rfc3339(state.started_at or self.started_at)}

    def advance(
        self, settled: Sequence[StepState], lines: Lines, now: datetime, *, draining: bool
    ) -> Checkpoint:
        """Take over what became of attempts, decide what comes next, and return what to commit.

        While `draining`, nothing new starts: the run goes back to the queue.
        """
        record = {**self.record, **{state.path: state for state in settled}}
        step = progress(self.plan, record, now, self.deadline)
        if draining and step.started:
            self.record, self.started = record, ()
            return self._checkpoint(settled, lines, self._requeued(now))
        self.record, self.started, self.waits = step.record, step.started, step.waits
        return self._checkpoint((*settled, *step.changes), lines, self._leave(step, now))

    def within_limit(self, outcome: Outcome) -> Outcome:
        """Count an output towards what a run may hold in memory; beyond that, the attempt has failed."""
        if not isinstance(outcome, Succeeded):
            return outcome
        self.output_bytes += outcome.output_bytes
        if self.output_bytes <= MAX_RUN_OUTPUT_BYTES:
            return outcome
        message = (
            f"The outputs of this run's steps have grown beyond {MAX_RUN_OUTPUT_BYTES // 1024**2} MiB: "
            "pass on less, or references to where the data is."
        )
        return Failed("output_too_large", message, again=False)

    def interrupted(self, now: datetime, on_lost: Callable[[str], OnLost]) -> Checkpoint:
        """Return what to commit when the worker stops in the middle of attempts."""
        states = [
            interrupt(state, now, on_lost(state.type))
            for state in self.record.values()
            if state.status is AttemptStatus.RUNNING
        ]
        return self._checkpoint(states, (), self._requeued(now))

    def broken(self, error: Exception, now: datetime) -> Checkpoint:
        """Return what to commit when the engine itself could not go on: the run fails, visibly."""
        detail = error.detail if isinstance(error, AutomateError) else type(error).__name__
        end = End(
            RunStatus.FAILED,
            error={"code": "engine_error", "message": f"The engine could not go on: {detail}"},
        )
        states = [
            cancel(state, now)
            for state in self.record.values()
            if state.status is AttemptStatus.RUNNING
        ]
        return self._checkpoint(states, (), ended(end, now))

    def _checkpoint(
        self, states: Sequence[StepState], lines: Lines, leave: Mapping[str, Any] | None
    ) -> Checkpoint:
        numbered = tuple(
            (state, line, n) for state, written in lines for n, line in enumerate(written)
        )
        return Checkpoint(self.id, self.epoch, tuple(states), numbered, leave)

    def _leave(self, step: Progress, now: datetime) -> Mapping[str, Any] | None:
        if step.end is not None:
            return ended(step.end, now)
        if not step.idle:
            return None
        wake_at = min((wait.until for wait in step.waits), default=now)
        if self.deadline is not None:
            wake_at = min(wake_at, self.deadline)
        waiting_for = [
            {"step": wait.path, "kind": wait.kind, "until": rfc3339(wait.until)}
            for wait in step.waits
        ]
        return {
            **_LEAVE,
            "status": RunStatus.WAITING,
            "wake_at": wake_at,
            "waiting_for": waiting_for,
        }

    def _requeued(self, now: datetime) -> Mapping[str, Any]:
        return {**_LEAVE, "status": RunStatus.QUEUED, "wake_at": now}


_LEAVE: Mapping[str, Any] = {
    "output": None,
    "error": None,
    "waiting_for": None,
    "wake_at": None,
    "finished_at": None,
}


def ended(end: End, now: datetime) -> Mapping[str, Any]:
    """Return how a run leaves its worker when it is over."""
    return {
        **_LEAVE,
        "status": end.status,
        "output": end.output,
        "error": end.error,
        "finished_at": now,
    }


def rfc3339(time: datetime) -> str:
    """Return a time as the API and expressions show it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
