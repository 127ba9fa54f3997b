"""A run that a worker holds: its plan, its record, and what is to be written down next. No I/O."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.artifacts.store import Artifact
from app.engine.attempt.context import LogLine
from app.engine.planning.board import Board
from app.engine.planning.decision import Decision, End, Wait
from app.engine.planning.record import StepState, rfc3339
from app.engine.planning.transitions import (
    Failed,
    OnLost,
    Outcome,
    Succeeded,
    cancel,
    fail,
    interrupt,
)

RUN = ""
"""Stands for the run itself where outputs are named by the path of their step."""
MAX_RUN_OUTPUT_BYTES = 64 * 1024**2
"""How much the outputs of one run's steps may come to, as JSON: a worker holds hundreds of runs."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What goes into one commit for one run: attempts that ended or start, their log lines, and how the run leaves."""

    run_id: str
    epoch: int
    states: tuple[StepState, ...] = ()
    lines: tuple[tuple[StepState, LogLine, int], ...] = ()
    leave: Mapping[str, Any] | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    """Where the large outputs of `states` lie, by path; that of the run itself, by RUN."""

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
                **self._output(state.path, state.output),
                "error": state.error,
                "retry_at": state.retry_at,
                "started_at": state.started_at,
                "finished_at": state.finished_at,
            }

    def run_row(self) -> dict[str, Any]:
        """Return the row of `runs` by which the run leaves its worker."""
        leave = self.leave or {}
        return {"id": self.run_id, **leave, **self._output(RUN, leave.get("output"))}

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

    def _output(self, place: str, value: Any) -> dict[str, Any]:
        artifact = None if value is None else self.artifacts.get(place)
        if artifact is None:
            return {"output": value, "output_artifact": None, "output_bytes": None}
        return {"output": None, "output_artifact": artifact.sha256, "output_bytes": artifact.size}


Lines = Sequence[tuple[StepState, Sequence[LogLine]]]


class NotKept(Exception):
    """Outputs of a checkpoint are too large, or could not be brought to the artifact store."""

    def __init__(self, failed: Failed, paths: Collection[str]) -> None:
        super().__init__(failed.message)
        self.failed, self.paths = failed, paths


@dataclass(slots=True)
class ActiveRun:
    """One run in a worker's hands, in one epoch."""

    id: str
    epoch: int
    board: Board
    started: tuple[StepState, ...] = ()
    waits: tuple[Wait, ...] = ()
    output_bytes: int = 0
    dropped: bool = False
    """Set when another worker may hold it by now: nothing of it is to be written any more."""

    def seconds_to_next_wait(self, now: datetime) -> float | None:
        """Return how long until a parked step is due while others still run; None when nothing is parked."""
        due = min((wait.until for wait in self.waits), default=None)
        return None if due is None else max(0.0, (due - now).total_seconds())

    def advance(
        self, settled: Sequence[StepState], lines: Lines, now: datetime, *, draining: bool
    ) -> Checkpoint:
        """Take over what became of attempts, decide what comes next, and return what to commit.

        While `draining`, nothing new starts: once no attempt runs, the run goes back to the queue.
        """
        decision = self.board.look(settled, now, start=not draining)
        self.started, self.waits = decision.started, decision.waits
        return self._checkpoint(
            decision.changes, lines, self._leave(decision, now, draining=draining)
        )

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
        board = self.board
        states = [
            interrupt(board.record[path], now, on_lost(board.record[path].type))
            for path in board.running
        ]
        return self._checkpoint(states, (), requeued(now))

    def broken(self, error: Exception, now: datetime) -> Checkpoint:
        """Return what to commit when the engine itself could not go on: the run fails, visibly."""
        detail = error.detail if isinstance(error, AutomateError) else type(error).__name__
        end = End(
            RunStatus.FAILED,
            error={"code": "engine_error", "message": f"The engine could not go on: {detail}"},
        )
        states = [
            cancel(state, now)
            for state in self.board.record.values()
            if state.status is AttemptStatus.RUNNING
        ]
        return self._checkpoint(states, (), ended(end, now))

    def not_kept(self, checkpoint: Checkpoint, fault: NotKept, now: datetime) -> Checkpoint:
        """Return what to commit instead when outputs could not be kept: their steps fail, and with them the run."""
        states = {(state.path, state.attempt): state for state in checkpoint.states}
        for state in (*self.board.record.values(), *checkpoint.states):
            key = state.path, state.attempt
            if state.path in fault.paths and state.output is not None:
                states[key] = fail(replace(state, output=None, port=None), fault.failed, now)
            elif state.status is AttemptStatus.RUNNING:
                states[key] = cancel(state, now)
        path = next((path for path in fault.paths if path != RUN), None)
        error = fault.failed.error if path is None else {"step": path, **fault.failed.error}
        leave = ended(End(RunStatus.FAILED, error=error), now)
        return replace(checkpoint, states=tuple(states.values()), leave=leave)

    def _checkpoint(
        self, states: Sequence[StepState], lines: Lines, leave: Mapping[str, Any] | None
    ) -> Checkpoint:
        numbered = tuple(
            (state, line, n) for state, written in lines for n, line in enumerate(written)
        )
        return Checkpoint(self.id, self.epoch, tuple(states), numbered, leave)

    def _leave(
        self, decision: Decision, now: datetime, *, draining: bool
    ) -> Mapping[str, Any] | None:
        if decision.end is not None:
            return ended(decision.end, now)
        if self.board.running:
            return None
        if draining:
            return requeued(now)
        wake_at = min((wait.until for wait in decision.waits), default=now)
        if self.board.deadline is not None:
            wake_at = min(wake_at, self.board.deadline)
        waiting_for = [
            {"step": wait.path, "kind": wait.kind, "until": rfc3339(wait.until)}
            for wait in decision.waits
        ]
        return {
            **_LEAVE,
            "status": RunStatus.WAITING,
            "wake_at": wake_at,
            "waiting_for": waiting_for,
        }


_LEAVE: Mapping[str, Any] = {
    "output": None,
    "error": None,
    "waiting_for": None,
    "wake_at": None,
    "finished_at": None,
}


def requeued(wake_at: datetime) -> Mapping[str, Any]:
    """Return how a run leaves its worker for the next one to go on with, from `wake_at` on."""
    return {**_LEAVE, "status": RunStatus.QUEUED, "wake_at": wake_at}


def ended(end: End, now: datetime) -> Mapping[str, Any]:
    """Return how a run leaves its worker when it is over."""
    return {
        **_LEAVE,
        "status": end.status,
        "output": end.output,
        "error": end.error,
        "finished_at": now,
    }
