"""What is committed for a run in one go: rows, and how it leaves its worker. Values only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from app.core.statuses import RunStatus
from app.engine.artifacts.store import Artifact
from app.engine.attempt.context import Command, LogLine
from app.engine.guards.held import Held
from app.engine.planning.decision import End, Wait
from app.engine.planning.record import StepState, rfc3339
from app.engine.planning.transitions import Suspended

RUN = ""
"""Stands for the run itself where outputs are named by the path of their step."""
CHECKPOINTS_PER_EPOCH = 1_000_000
RELEASED = "released"
"""Stands in a leave for: whatever a person has made of the run meanwhile."""
ASKS = (
    "The worker was lost during this attempt, and its node type asks before it is repeated: find out whether the effect "
    "took place, then resume the run to try the step again, or cancel it."
)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the engine must know of a run besides its plan: whose it is, and how deep it lies below its first parent.

    `started_by` is who started it, or its first parent, by hand, by a schedule or by an event.
    """

    owner_id: str
    workflow_id: str
    depth: int = 0
    started_by: str | None = None


NO_FACTS: Final = RunFacts("", "")


@dataclass(frozen=True, slots=True)
class Brought:
    """What an attempt has brought besides its outcome: its config after the expressions, and what it asks the engine for.

    `suspended` is how it waits. `commands` take effect with the checkpoint, or not at all.
    """

    input: Any = None
    suspended: Suspended | None = None
    commands: Sequence[Command] = ()


NOTHING: Final[Mapping[str, Brought]] = {}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What goes into one commit for one run: attempts that ended or start, what they brought, and how the run leaves."""

    run_id: str
    epoch: int
    states: tuple[StepState, ...] = ()
    lines: tuple[tuple[StepState, LogLine, int], ...] = ()
    leave: Mapping[str, Any] | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    """Where the large outputs of `states` lie, by path; that of the run itself, by RUN."""
    ended: tuple[StepState, ...] = ()
    """Those of `states` that came out of attempts: all that is written of a run that was paused in the meantime."""
    brought: Mapping[str, Brought] = field(default_factory=dict)
    """What came of the attempts in `ended` besides their outcome, by path."""
    number: int = 0
    """Grows with every checkpoint of the run."""
    facts: RunFacts = NO_FACTS

    def when_paused(self) -> "Checkpoint":
        """Return what is written when nothing new may start: the run stays with its worker while attempts run.

        One that pauses by itself as well says why: it asks a question. One that a guard holds is now paused by a person.
        """
        asks = (
            self.leave is not None
            and self.leave["status"] is RunStatus.PAUSED
            and self.leave["held_by"] is None
        )
        leave = self.leave if self.leave is None or asks else released()
        return replace(self, states=self.ended, leave=leave)

    def step_rows(self) -> Iterable[dict[str, Any]]:
        """Yield the rows of `steps`."""
        for state in self.states:
            brought = self.brought.get(state.path)
            artifact = self.artifacts.get(state.path) if self.artifacts else None
            yield {
                "run_id": self.run_id,
                "path": state.path,
                "attempt": state.attempt,
                "seq": state.seq,
                "type": state.type,
                "status": state.status,
                "port": state.port,
                "input": None if brought is None else brought.input,
                "wait": None if state.wait is None else state.wait.stored,
                "changed": self.number,
                **_output(state.output, artifact),
                "error": state.error,
                "retry_at": state.retry_at,
                "started_at": state.started_at,
                "finished_at": state.finished_at,
            }

    def run_row(self) -> dict[str, Any]:
        """Return the row of `runs` by which the run leaves its worker."""
        leave = self.leave or {}
        return {
            "id": self.run_id,
            **leave,
            **_output(leave.get("output"), self.artifacts.get(RUN)),
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


def _output(value: Any, artifact: Artifact | None) -> dict[str, Any]:
    if artifact is None or value is None:
        return {"output": value}
    return {"output": None, "output_artifact": artifact.sha256, "output_bytes": artifact.size}


_LEAVE: Mapping[str, Any] = {
    "output": None,
    "error": None,
    "waiting_for": None,
    "wake_at": None,
    "finished_at": None,
    "held_by": None,
}


def requeued(wake_at: datetime) -> Mapping[str, Any]:
    """Return how a run leaves its worker for the next one to go on with, from `wake_at` on."""
    return {**_LEAVE, "status": RunStatus.QUEUED, "wake_at": wake_at}


def parked(waits: Sequence[Wait], wake_at: datetime | None) -> Mapping[str, Any]:
    """Return how a run leaves its worker that has nothing to do until `wake_at`, or until a wait ends."""
    waiting_for = [_shown(wait) for wait in waits]
    return {**_LEAVE, "status": RunStatus.WAITING, "wake_at": wake_at, "waiting_for": waiting_for}


def _shown(wait: Wait) -> dict[str, Any]:
    until = {} if wait.until is None else {"until": rfc3339(wait.until)}
    return {"step": wait.path, "kind": wait.kind, **until, **wait.shown}


def released() -> Mapping[str, Any]:
    """Return how a paused run leaves its worker: paused still, or to be gone on with if it was resumed meanwhile."""
    return {**_LEAVE, "status": RELEASED}


def paused_by(asking: Sequence[StepState]) -> Mapping[str, Any]:
    """Return how a run leaves its worker that pauses itself: its node types ask what to do about lost attempts."""
    waiting_for = [{"step": state.path, "kind": "lost", "reason": ASKS} for state in asking]
    return {**_LEAVE, "status": RunStatus.PAUSED, "waiting_for": waiting_for}


def held_by(held: Held) -> Mapping[str, Any]:
    """Return how a run leaves its worker that a guard holds: paused, until whatever holds it lets it go."""
    leave = {"status": RunStatus.PAUSED, "waiting_for": [held.shown], "held_by": held.id}
    return {**_LEAVE, **leave}


def ended(end: End, now: datetime) -> Mapping[str, Any]:
    """Return how a run leaves its worker when it is over."""
    return {
        **_LEAVE,
        "status": end.status,
        "output": end.output,
        "error": end.error,
        "finished_at": now,
    }
