"""Duty: start the runs of schedules whose time has come, and move the schedules on, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row

from app.core.clock import Clock
from app.core.logging import get_logger
from app.core.statuses import TriggerKind
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.guards.store import read_switches
from app.engine.guards.switches import Switches, stopping_new
from app.engine.intake import Accepted, NewRun, Refused, accept
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.input_schema import input_problems
from app.engine.language.plan import Plan
from app.engine.planning.record import rfc3339
from app.engine.plans import PlanCache
from app.engine.scheduling import store
from app.engine.scheduling.cron import InvalidCron, InvalidTimeZone
from app.engine.scheduling.firing import Timetable, take_turn

BATCH = 100
MAX_BATCHES = 50
"""In one round, so that other workers get their share."""
DELETED = "The workflow was deleted: this schedule has ended."
DISABLED = (
    "The workflow is disabled: nothing was started. Enable it, and the next fire time starts a run."
)
CONTEXT_MISSING = (
    "The workflow requires a context that a schedule cannot give ({}): nothing was started. Set the workflow's "
    "`context.defaults`."
)
SKIPPED = "Nothing was there to start a run at {}: what was missed is skipped, as `misfire` says."
STOPPED = "Nothing was started at {}. {}"
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Move:
    """How a schedule moves on, and the run that it starts, if it starts one."""

    schedule_id: str
    next_fire_at: datetime | None
    error: str | None = None
    fire_at: datetime | None = None
    run: NewRun | None = None

    def row(self, answer: Accepted | Refused | None) -> dict[str, Any]:
        refused = isinstance(answer, Refused)
        return {
            "id": self.schedule_id,
            "next_fire_at": self.next_fire_at,
            "last_fire_at": None if refused else self.fire_at,
            "last_run_id": answer.run_id if isinstance(answer, Accepted) else None,
            "last_error": answer.detail if isinstance(answer, Refused) else self.error,
        }


class Schedules:
    """Fires due schedules: of n workers, one. The key of a run is its schedule and fire time, so that it is made once."""

    name = "schedules"
    interval_seconds = 0.5

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        catalogue: NodeCatalogue,
        hand_on: Callable[[Sequence[str]], None],
        key_ttl_seconds: int,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._plans = PlanCache(catalogue)
        self._hand_on = hand_on
        self._key_ttl_seconds = key_ttl_seconds

    def run_once(self) -> Mapping[str, int]:
        """Fire what is due; returns how many schedules had their turn, and how many runs were started."""
        turns, started = 0, 0
        for _ in range(MAX_BATCHES):
            now = self._clock.now()
            with self._engine.begin() as connection:
                moves, run_ids = self._fire_due(connection, now)
            if not moves:
                break
            turns, started = turns + moves, started + len(run_ids)
            if run_ids:
                self._hand_on(run_ids)
        return {"turns": turns, "runs": started}

    def _fire_due(self, connection: Connection, now: datetime) -> tuple[int, list[str]]:
        locked = store.LOCK_DUE.run(connection, now=now, batch=BATCH)
        if not locked:
            return 0, []
        due = store.LOAD_DUE.run(connection, [{"id": row.id} for row in locked], now=now)
        inputs = self._input_schemas(connection, due)
        switches = read_switches(connection)
        moves = [
            self._move(row, inputs.get(row.version_id), now, _stopped(row, switches, now))
            for row in due
        ]
        firing = [(move.schedule_id, move.run) for move in moves if move.run is not None]
        accepted = accept(connection, [run for _, run in firing], now) if firing else []
        answers = {id_: answer for (id_, _), answer in zip(firing, accepted, strict=True)}
        rows = [move.row(answers.get(move.schedule_id)) for move in moves]
        store.MOVE_ON.run(connection, rows)
        runs = [run for run in answers.values() if isinstance(run, Accepted)]
        return len(moves), [run.run_id for run in runs if not run.duplicate]

    def _input_schemas(
        self, connection: Connection, due: Sequence[Row[Any]]
    ) -> dict[str, Mapping[str, Any] | None]:
        loaded = self._plans.load(connection, [row.version_id for row in due])
        plans = {version_id: version.plan for version_id, version in loaded.items()}
        return {id_: plan.inputs for id_, plan in plans.items() if isinstance(plan, Plan)}

    def _move(
        self, row: Row[Any], schema: Mapping[str, Any] | None, now: datetime, stopped: str | None
    ) -> _Move:
        if row.deleted_at is not None:
            return _Move(row.id, None, DELETED)
        try:
            turn = take_turn(Timetable(row.cron, row.timezone, row.misfire), row.next_fire_at, now)
        except (InvalidCron, InvalidTimeZone) as error:
            log.warning("schedule_ended", schedule_id=row.id, reason=str(error))
            return _Move(row.id, None, str(error))
        if turn.fire_at is None:
            return _Move(row.id, turn.next_fire_at, SKIPPED.format(rfc3339(row.next_fire_at)))
        value = input_of(row.id, row.input, turn.fire_at)
        refusal = stopped or _refusal(row, schema, value)
        if refusal is not None:
            return _Move(row.id, turn.next_fire_at, refusal)
        run = self._run(row, value, turn.fire_at)
        return _Move(row.id, turn.next_fire_at, None, turn.fire_at, run)

    def _run(self, row: Row[Any], value: Any, fire_at: datetime) -> NewRun:
        return NewRun(
            owner_id=row.owner_id,
            workflow_id=row.workflow_id,
            version_id=row.version_id,
            version=row.version,
            trigger=TriggerKind.SCHEDULE,
            input=value,
            idempotency_key=f"schedule:{row.id}:{rfc3339(fire_at)}",
            key_ttl_seconds=self._key_ttl_seconds,
            context=merged_context(row.context_required, None),
            started_by=row.owner_email,
        )


def _stopped(row: Row[Any], switches: Switches, now: datetime) -> str | None:
    """Return why a fire time starts nothing whatever the schedule says."""
    switch = stopping_new(switches, row.owner_id, row.workflow_id, now)
    return None if switch is None else STOPPED.format(rfc3339(row.next_fire_at), switch.held.reason)


def _refusal(row: Row[Any], schema: Mapping[str, Any] | None, value: Any) -> str | None:
    """Return why a fire time starts nothing: what held when the schedule was saved may hold no longer."""
    if not row.workflow_enabled:
        return DISABLED
    missing = missing_fields(row.context_required, merged_context(row.context_required, None))
    if missing:
        return CONTEXT_MISSING.format(", ".join(missing))
    return misfit_of(schema, value)


def input_of(schedule_id: str, given: Any, fire_at: datetime) -> Any:
    """Return the input of a run: what the schedule gives, or else which schedule it is and for when."""
    if given is not None:
        return given
    return {"scheduled_at": rfc3339(fire_at), "schedule_id": schedule_id}


def misfit_of(schema: Mapping[str, Any] | None, value: Any) -> str | None:
    """Return a sentence when an input no longer fits the workflow's `inputs` schema."""
    problems = input_problems(schema, value) if schema is not None else []
    if not problems:
        return None
    faults = "; ".join(f"{problem.pointer or '/'}: {problem.detail}" for problem in problems[:3])
    return (
        f"The workflow has changed: the schedule's input does not fit its `inputs` any more ({faults}) Change the "
        "schedule's `input`."
    )
