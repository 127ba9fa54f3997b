"""Claim runs and begin them: taking them and recording their first steps is one commit for the whole batch."""

from collections import defaultdict
from collections.abc import Sequence
from random import random
from typing import Any

from sqlalchemy import Connection, Engine, Row

from app.core.clock import Clock
from app.core.errors import InvalidDefinition
from app.core.logging import get_logger
from app.core.statuses import AttemptStatus, RunStatus
from app.engine import store
from app.engine.active_run import ActiveRun, Checkpoint, ended, rfc3339
from app.engine.journal import write_checkpoints
from app.engine.planning.planner import End
from app.engine.planning.record import StepState, latest
from app.engine.planning.transitions import lose
from app.engine.plans import LoadedVersion, PlanCache
from app.engine.registry import Catalogue

log = get_logger(__name__)


class Claims:
    """Takes runs for one worker. Used by one thread at a time."""

    def __init__(self, engine: Engine, catalogue: Catalogue, clock: Clock) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._clock = clock
        self._plans = PlanCache(catalogue)

    def take(self, worker_id: str, run_ids: Sequence[str]) -> list[ActiveRun]:
        """Claim those of the runs that are queued and unclaimed; returns them with their first steps recorded."""
        with self._engine.begin() as connection:
            rows = store.claim(connection, worker_id, sorted(set(run_ids)), self._clock.now())
            if not rows:
                return []
            versions = self._plans.load(connection, [row.version_id for row in rows])
            recorded = self._recorded(connection, [row.id for row in rows if row.epoch > 1])
            begun = [
                self._begin_alone(row, versions.get(row.version_id), recorded[row.id])
                for row in rows
            ]
            write_checkpoints(connection, [checkpoint for _, checkpoint in begun])
        return [run for run, checkpoint in begun if run is not None and checkpoint.leave is None]

    def release_strays(self, worker_id: str, held: Sequence[str]) -> int:
        """Give back the worker's runs that are not among those it knows to hold; returns how many."""
        rows = [{"id": run_id} for run_id in held]
        with self._engine.begin() as connection:
            released = store.RELEASE_STRAYS.run(
                connection, rows, worker_id=worker_id, again=self._clock.now()
            )
        return len(released)

    def _recorded(
        self, connection: Connection, run_ids: Sequence[str]
    ) -> dict[str, list[StepState]]:
        recorded: dict[str, list[StepState]] = defaultdict(list)
        if run_ids:
            for row in store.LOAD_STEPS.run(connection, [{"id": run_id} for run_id in run_ids]):
                run_id, *state = tuple[Any, ...](row)
                recorded[run_id].append(StepState(*state))
        return recorded

    def _begin_alone(
        self, row: Row[Any], version: LoadedVersion | None, attempts: Sequence[StepState]
    ) -> tuple[ActiveRun | None, Checkpoint]:
        """Begin a run; whatever goes wrong with it is its own failure, and not that of the batch."""
        try:
            return self._begin(row, version, attempts)
        except Exception as error:
            log.exception("run_cannot_begin", run_id=row.id)
            return None, self._cannot_run(row, f"{type(error).__name__} while it was read")

    def _begin(
        self, row: Row[Any], version: LoadedVersion | None, attempts: Sequence[StepState]
    ) -> tuple[ActiveRun | None, Checkpoint]:
        if version is None:
            return None, self._cannot_run(row, "its version is gone")
        if isinstance(version.plan, InvalidDefinition):
            return None, self._cannot_run(row, version.plan.detail)
        run = ActiveRun(
            id=row.id,
            epoch=row.epoch,
            plan=version.plan,
            facts=_facts(row, version.workflow_name),
            started_at=row.started_at,
            record=latest(attempts),
        )
        return run, run.advance(self._lost(run), (), self._clock.now(), draining=False)

    def _lost(self, run: ActiveRun) -> list[StepState]:
        """Return the attempts that were still running when their worker died, as lost."""
        now = self._clock.now()
        return [
            lose(state, self._catalogue.on_lost(state.type), now, random)
            for state in run.record.values()
            if state.status is AttemptStatus.RUNNING
        ]

    def _cannot_run(self, row: Row[Any], reason: str) -> Checkpoint:
        error = {
            "code": "definition_not_runnable",
            "message": f"This worker cannot run the definition: {reason}",
        }
        leave = ended(End(RunStatus.FAILED, error=error), self._clock.now())
        return Checkpoint(row.id, row.epoch, leave=leave)


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
