"""Claim runs and begin them: taking them and recording their first steps is one commit for the whole batch.

Only runs with large outputs need a second one: no transaction waits for the artifact store.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random
from typing import Any

from sqlalchemy import Engine, Row

from app.core.clock import Clock
from app.core.errors import InvalidDefinition
from app.core.logging import get_logger
from app.core.statuses import AttemptStatus, RunStatus
from app.db.round_trips import let_commit_travel
from app.engine import lease_store, store
from app.engine.active_run import ActiveRun, NotKept
from app.engine.artifacts.store import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactStoreUnavailable,
)
from app.engine.checkpoint import Checkpoint, RunFacts, ended, requeued
from app.engine.followups import FollowUp
from app.engine.guards.concurrency import within_caps
from app.engine.guards.gate import Gate
from app.engine.guards.holding import hold_queued
from app.engine.guards.policy_book import book_of
from app.engine.journal import Verdict, write_checkpoints, write_fenced
from app.engine.metrics.meters import WorkerMeters
from app.engine.outputs import Outputs, oversized
from app.engine.past import Past, load_pasts
from app.engine.planning.board import Board
from app.engine.planning.decision import End
from app.engine.planning.record import GOING_ON, StepState, latest, rfc3339
from app.engine.planning.transitions import cancel, lose
from app.engine.plans import LoadedVersion, PlanCache
from app.engine.registry import Catalogue

STORE_AWAY = timedelta(seconds=10)
"""After how long a run whose artifacts cannot be read just now is tried again."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A run's row with what it takes to begin it."""

    row: Row[Any]
    version: LoadedVersion | None
    past: Past


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is to be committed first; `run` is None when there is nothing to go on with."""

    run: ActiveRun | None
    checkpoint: Checkpoint


AddFirstSteps = Callable[[ActiveRun, Checkpoint], Checkpoint]
"""Adds to a run's first checkpoint what came of steps that are over at once."""


class Claims:
    """Takes runs for one worker. Used by one thread at a time."""

    def __init__(  # noqa: PLR0913 - it is put together in one place, from what is made there
        self,
        engine: Engine,
        catalogue: Catalogue,
        clock: Clock,
        outputs: Outputs,
        follow_up: FollowUp,
        meters: WorkerMeters,
        gate: Gate,
        fleeting: Collection[str] = (),
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._clock = clock
        self._outputs = outputs
        self._follow_up = follow_up
        self._meters = meters
        self._gate = gate
        self._policies = book_of(engine)
        self._fleeting = fleeting
        self._plans = PlanCache(catalogue)

    def take(
        self, worker_id: str, run_ids: Sequence[str], first_steps: AddFirstSteps
    ) -> list[ActiveRun]:
        """Claim those of the runs that are queued and unclaimed; returns them with their first steps recorded."""
        with self._engine.begin() as connection:
            policies, asked = self._policies.current(connection), sorted(set(run_ids))
            chosen = within_caps(connection, policies, asked, self._clock.now())
            wanted = hold_queued(connection, sorted(chosen), self._gate)
            rows = store.claim(connection, worker_id, wanted, self._clock.now()) if wanted else ()
            if not rows:
                return []
            versions = self._plans.load(connection, [row.version_id for row in rows])
            pasts = load_pasts(connection, [row.id for row in rows if row.epoch > 1])
            claimed = [_Claimed(row, versions.get(row.version_id), pasts[row.id]) for row in rows]
            light, heavy = self._begin_light(claimed, first_steps)
            let_commit_travel(
                connection
            )  # if we die now, our lease ends, and nothing was done but to claim
            followups = write_checkpoints(connection, [one.checkpoint for one in light])
        if followups:
            self._follow_up(followups)
        heavy += self._resume([run for run in claimed if run.past.has_artifacts])
        begun = light + self._write(worker_id, [self._stow(one) for one in heavy])
        self._meters.claimed(rows, [one.checkpoint for one in begun])
        runs = [one.run for one in begun if one.run is not None and one.checkpoint.leave is None]
        for run in runs:
            run.stands_for = chosen[run.id]
        return runs

    def release_strays(self, worker_id: str, held: Sequence[str]) -> int:
        """Give back the worker's runs that are not among those it knows to hold; returns how many."""
        rows = [{"id": run_id} for run_id in held]
        with self._engine.begin() as connection:
            released = lease_store.RELEASE_STRAYS.run(
                connection, rows, worker_id=worker_id, again=self._clock.now()
            )
        return len(released)

    def _begin_light(
        self, claimed: Sequence[_Claimed], first_steps: AddFirstSteps
    ) -> tuple[list[_Begun], list[_Begun]]:
        """Begin runs without artifacts; apart from them, those that begin with an output that must become one."""
        light: list[_Begun] = []
        heavy: list[_Begun] = []
        for run in claimed:
            if not run.past.has_artifacts:
                begun = self._begin(run, [state for state, _ in run.past.recorded])
                if begun.run is not None:
                    begun = replace(begun, checkpoint=first_steps(begun.run, begun.checkpoint))
                (heavy if oversized(begun.checkpoint, ()) else light).append(begun)
        return light, heavy

    def _resume(self, claimed: Sequence[_Claimed]) -> list[_Begun]:
        """Begin runs whose outputs lie in the artifact store; while it is away, they go back to the queue."""
        begun: list[_Begun] = []
        for place, run in enumerate(claimed):
            try:
                begun.append(self._begin(run, self._outputs.load(run.past.recorded)))
            except (ArtifactMissing, ArtifactDamaged) as fault:
                begun.append(self._failed(run, fault.code, fault.detail))
            except ArtifactStoreUnavailable:
                log.warning("runs_postponed", runs=len(claimed) - place, reason="artifact store")
                return begun + [self._postponed(run) for run in claimed[place:]]
        return begun

    def _stow(self, begun: _Begun) -> _Begun:
        found = oversized(begun.checkpoint, ())
        if begun.run is None or not found:
            return begun
        try:
            return replace(begun, checkpoint=self._outputs.stow(begun.checkpoint, found))
        except NotKept as fault:
            now = self._clock.now()
            return replace(begun, checkpoint=begun.run.not_kept(begun.checkpoint, fault, now))

    def _write(self, worker_id: str, begun: Sequence[_Begun]) -> list[_Begun]:
        """Write the first checkpoints of runs that were claimed in an earlier transaction; returns those still held."""
        if not begun:
            return []
        with self._engine.begin() as connection:
            checkpoints = [one.checkpoint for one in begun]
            verdicts, followups = write_fenced(connection, worker_id, checkpoints)
        if followups:
            self._follow_up(followups)
        for one, verdict in zip(begun, verdicts, strict=True):
            if verdict is Verdict.PAUSED and one.run is not None:
                one.run.pause()
        return [
            one for one, verdict in zip(begun, verdicts, strict=True) if verdict is not Verdict.LOST
        ]

    def _begin(self, claimed: _Claimed, attempts: Sequence[StepState]) -> _Begun:
        """Begin a run; whatever goes wrong with it is its own failure, and not that of the batch."""
        try:
            return self._read(claimed, attempts)
        except Exception as error:
            log.exception("run_cannot_begin", run_id=claimed.row.id)
            return self._cannot_run(claimed, f"{type(error).__name__} while it was read")

    def _read(self, claimed: _Claimed, attempts: Sequence[StepState]) -> _Begun:
        row, version = claimed.row, claimed.version
        if version is None:
            return self._cannot_run(claimed, "its version is gone")
        if isinstance(version.plan, InvalidDefinition):
            return self._cannot_run(claimed, version.plan.detail)
        now = self._clock.now()
        record = self._without_lost(latest(attempts), now)
        lost = [state for path, state in record.items() if state.lost_at(now)]
        run = ActiveRun(
            row.id,
            row.epoch,
            Board(
                version.plan,
                _facts(row, version.workflow_name),
                row.started_at,
                record,
                claimed.past.superseded,
            ),
            RunFacts(row.owner_id, row.workflow_id, row.depth, row.started_by),
            self._fleeting,
            ask=self._gate.of_step,
        )
        asking = [state for state in lost if self._asks(state)]
        if asking:
            return _Begun(None, run.hand_to_a_person(lost, asking))
        settled = run.resolve(claimed.past.ended_waits, now, random)
        checkpoint = run.advance(settled, (), now, draining=False)
        if lost:
            checkpoint = replace(checkpoint, states=(*lost, *checkpoint.states))
        return _Begun(run, checkpoint)

    def _asks(self, state: StepState) -> bool:
        return state.retry_at is not None and self._catalogue.on_lost(state.type) == "ask"

    def _without_lost(self, record: dict[str, StepState], now: datetime) -> dict[str, StepState]:
        """Return the record with the attempts that ran when their worker died marked as lost."""
        for path, state in record.items():
            found = self._catalogue.get(state.type)
            if state.status is AttemptStatus.RUNNING and not (found and found.info.is_loop):
                record[path] = lose(state, self._catalogue.on_lost(state.type), now, random)
        return record

    def _cannot_run(self, claimed: _Claimed, reason: str) -> _Begun:
        message = f"This worker cannot run the definition: {reason}"
        return self._failed(claimed, "definition_not_runnable", message)

    def _failed(self, claimed: _Claimed, code: str, message: str) -> _Begun:
        row, now = claimed.row, self._clock.now()
        running = (s for s, _ in claimed.past.recorded if s.status in GOING_ON)
        states = tuple(cancel(state, now) for state in running)
        leave = ended(End(RunStatus.FAILED, error={"code": code, "message": message}), now)
        return _Begun(None, Checkpoint(row.id, row.epoch, states, leave=leave))

    def _postponed(self, claimed: _Claimed) -> _Begun:
        leave = requeued(self._clock.now() + STORE_AWAY)
        return _Begun(None, Checkpoint(claimed.row.id, claimed.row.epoch, leave=leave))


def _facts(row: Row[Any], workflow_name: str) -> dict[str, Any]:
    return {
        "input": row.input,
        "run": {
            "id": row.id,
            "started_at": rfc3339(row.started_at),
            "trigger": row.trigger_kind.value,
        },
        "workflow": {"id": row.workflow_id, "name": workflow_name, "version": row.version},
    }
