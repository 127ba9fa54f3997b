"""A run that a worker holds: its plan, its record, and what is to be written down next. No I/O."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.attempt.context import LogLine
from app.engine.attempt.scrubbing import Scrubber
from app.engine.checkpoint import (
    CHECKPOINTS_PER_EPOCH,
    NO_FACTS,
    NOTHING,
    RUN,
    Brought,
    Checkpoint,
    RunFacts,
    ended,
    held_by,
    parked,
    paused_by,
    released,
    requeued,
)
from app.engine.guards.held import Held
from app.engine.language.plan import Step
from app.engine.planning.board import Board
from app.engine.planning.decision import RETRY, Decision, End, Wait
from app.engine.planning.record import GOING_ON, POLICY, StepState
from app.engine.planning.transitions import (
    Failed,
    OnLost,
    Outcome,
    Resolution,
    Succeeded,
    Withheld,
    after_asking,
    cancel,
    fail,
    interrupt,
    outcome_of,
    settle,
)

MAX_RUN_OUTPUT_BYTES = 64 * 1024**2
"""How much the outputs of one run's steps may come to, as JSON: a worker holds hundreds of runs."""
FIRST_EPOCH = 1
"""The one in which nobody has held the run before."""

Lines = Sequence[tuple[StepState, Sequence[LogLine]]]
AskForStep = Callable[[RunFacts, Step], Held | None]
"""Asks what keeps a step of a run from starting; None: it may."""


def may_start(_run: RunFacts, _step: Step) -> None:
    """Let every step start."""


@dataclass(frozen=True, slots=True)
class EndedWait:
    """A wait that has ended, and how."""

    path: str
    attempt: int
    resolution: Resolution


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
    facts: RunFacts = NO_FACTS
    fleeting: Collection[str] = ()
    """Node types whose attempts leave no trace until they have ended, in the run's first epoch: should its worker die in
    one, nothing is lost. From then on every start is recorded, should one after all be what kills the workers.
    """
    started: tuple[StepState, ...] = ()
    waits: tuple[Wait, ...] = ()
    output_bytes: int = 0
    checkpoints: int = 0
    paused: bool = False
    """Set when a person has paused it, or a guard holds it, while attempts run: they end, and nothing new starts."""
    ask: AskForStep = may_start
    held: Held | None = None
    """What holds it."""
    stands_for: str = ""
    """The run that was asked for instead, whose slot it takes: under a cap on concurrent runs the oldest goes first."""
    leaving: bool = False
    """Set when its last checkpoint is on its way: the database may know already that it is nobody's."""
    dropped: bool = False
    """Set when another worker may hold it by now: nothing of it is to be written any more."""
    scrubber: Scrubber = field(default_factory=Scrubber)
    """Knows the secrets that its attempts have used in this process."""

    def seconds_to_next_wait(self, now: datetime) -> float | None:
        """Return how long until a parked step is to be tried again while others still run; None when none is."""
        due = min(
            (wait.until for wait in self.waits if wait.kind == RETRY and wait.until), default=None
        )
        return None if due is None else max(0.0, (due - now).total_seconds())

    @property
    def suspended(self) -> bool:
        """Tell whether a step waits for something that is told from outside."""
        return any(wait.kind != RETRY for wait in self.waits)

    def resolve(
        self, ended: Sequence[EndedWait], now: datetime, random: Callable[[], float]
    ) -> list[StepState]:
        """Return the states of steps whose waits have ended; what no longer waits is passed over.

        Of a run that was busy meanwhile, the same end may have been told twice.
        """
        states = []
        for wait in {(wait.path, wait.attempt): wait for wait in ended}.values():
            state = self.board.record.get(wait.path)
            if state is None or state.status is not AttemptStatus.WAITING:
                continue
            if state.attempt == wait.attempt:
                policy = self.board.step(wait.path).retry
                answer = outcome_of(wait.resolution)
                asked = state.wait.shown.get(POLICY) if state.wait else None
                if asked is not None:
                    states.append(after_asking(state, asked, answer, now))
                else:
                    outcome = self.within_limit(answer)
                    states.append(settle(state, outcome, policy, now, random))
        return states

    def advance(
        self,
        settled: Sequence[StepState],
        lines: Lines,
        now: datetime,
        *,
        draining: bool,
        brought: Mapping[str, Brought] | None = None,
    ) -> Checkpoint:
        """Take over what became of attempts and waits, decide what comes next, and return what to commit.

        `brought` is what the attempts have brought besides their outcomes, by path. While `draining`, nothing new starts: once no attempt runs, the run goes back to the queue.
        """
        if self.paused:
            return self._wind_down(settled, lines, brought)
        decision = self.board.look(settled, now, start=not draining)
        self.started, self.waits = decision.started, decision.waits
        held = self._held(decision.started)
        if held is not None:
            self.hold(held)
            return self._wind_down(settled, lines, brought)
        leave = self._leave(decision, now, draining=draining)
        states = self._to_record(decision.changes)
        return self._checkpoint(states, lines, leave, settled, brought)

    def hold(self, held: Held) -> None:
        """Start nothing more: a guard has spoken."""
        self.held = held
        self.pause()

    def _held(self, starting: Sequence[StepState]) -> Held | None:
        """Return what keeps one of these steps from starting."""
        asked = (self.ask(self.facts, self.board.step(state.path)) for state in starting)
        return next((held for held in asked if held is not None), None)

    def _to_record(self, changes: Sequence[StepState]) -> Sequence[StepState]:
        if self.epoch > FIRST_EPOCH or not self.fleeting:
            return changes
        return [
            state
            for state in changes
            if state.status is not AttemptStatus.RUNNING or state.type not in self.fleeting
        ]

    def _wind_down(
        self, settled: Sequence[StepState], lines: Lines, brought: Mapping[str, Brought] | None
    ) -> Checkpoint:
        """Return what to commit while paused: the board decides nothing any more, the next worker's will."""
        for state in settled:
            self.board.running.pop(state.path, None)
        way_out = released() if self.held is None else held_by(self.held)
        leave = None if self.board.running else way_out
        return self._checkpoint(settled, lines, leave, settled, brought)

    def pause(self) -> None:
        """Start nothing more: what the last checkpoint was to start was not recorded."""
        self.paused = True
        for state in self.started:
            self.board.running.pop(state.path, None)
        self.started, self.waits = (), ()

    def within_limit(self, outcome: Outcome | Withheld) -> Outcome | Withheld:
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

    def hand_to_a_person(
        self, lost: Sequence[StepState], asking: Sequence[StepState]
    ) -> Checkpoint:
        """Return what to commit when lost attempts may not be repeated unasked: the run pauses, and says why."""
        return self._checkpoint(lost, (), paused_by(asking), lost)

    def interrupted(self, now: datetime, on_lost: Callable[[str], OnLost]) -> Checkpoint:
        """Return what to commit when the worker stops in the middle of attempts."""
        board = self.board
        states = [
            interrupt(board.record[path], now, on_lost(board.record[path].type))
            for path in board.running
        ]
        asks = [state for state in states if on_lost(state.type) == "ask"]
        leave = paused_by(asks) if asks else requeued(now)
        return self._checkpoint(states, (), leave, states)

    def broken(self, error: Exception, now: datetime) -> Checkpoint:
        """Return what to commit when the engine itself could not go on: the run fails, visibly."""
        detail = error.detail if isinstance(error, AutomateError) else type(error).__name__
        end = End(
            RunStatus.FAILED,
            error={"code": "engine_error", "message": f"The engine could not go on: {detail}"},
        )
        states = [
            cancel(state, now) for state in self.board.record.values() if state.status in GOING_ON
        ]
        return self._checkpoint(states, (), ended(end, now))

    def not_kept(self, checkpoint: Checkpoint, fault: NotKept, now: datetime) -> Checkpoint:
        """Return what to commit instead when outputs could not be kept: their steps fail, and with them the run."""
        states = {(state.path, state.attempt): state for state in checkpoint.states}
        for state in (*self.board.record.values(), *checkpoint.states):
            key = state.path, state.attempt
            if state.path in fault.paths and state.output is not None:
                states[key] = fail(replace(state, output=None, port=None), fault.failed, now)
            elif state.status in GOING_ON:
                states[key] = cancel(state, now)
        path = next((path for path in fault.paths if path != RUN), None)
        error = fault.failed.error if path is None else {"step": path, **fault.failed.error}
        leave = ended(End(RunStatus.FAILED, error=error), now)
        return replace(checkpoint, states=tuple(states.values()), leave=leave)

    def _checkpoint(
        self,
        states: Sequence[StepState],
        lines: Lines,
        leave: Mapping[str, Any] | None,
        ended: Sequence[StepState] = (),
        brought: Mapping[str, Brought] | None = None,
    ) -> Checkpoint:
        self.checkpoints += 1
        numbered = [(state, line, n) for state, written in lines for n, line in enumerate(written)]
        return Checkpoint(
            self.id,
            self.epoch,
            tuple(states),
            tuple(numbered),
            leave,
            ended=tuple(ended),
            brought=brought or NOTHING,
            number=self.epoch * CHECKPOINTS_PER_EPOCH + self.checkpoints,
            facts=self.facts,
        )

    def _leave(
        self, decision: Decision, now: datetime, *, draining: bool
    ) -> Mapping[str, Any] | None:
        if decision.end is not None:
            return ended(decision.end, now)
        if self.board.running:
            return None
        if draining:
            return requeued(now)
        # Only the next attempts and the run's own time wake it by the clock; whatever ends a wait wakes it, too.
        due = [wait.until for wait in decision.waits if wait.kind == RETRY]
        wakes = [until for until in (*due, self.board.deadline) if until is not None]
        return parked(decision.waits, min(wakes, default=None) if decision.waits else now)
