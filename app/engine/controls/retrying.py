"""Let failed runs go on: from a failed step, or from whatever made them fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from app.core.errors import AutomateError, NotFound
from app.core.statuses import RunStatus
from app.engine import store as engine_store
from app.engine.checkpoint import CHECKPOINTS_PER_EPOCH, Checkpoint
from app.engine.controls import store
from app.engine.controls.control import HINT_GRACE, Control
from app.engine.controls.refusals import RunNotRetryable, StepNotRetryable
from app.engine.hooks import store as hooks
from app.engine.hooks.report import GONE
from app.engine.language.plan import Plan
from app.engine.planning.record import ENDED_IN_FAILURE, Record, StepState, latest
from app.engine.planning.retrying import Anew, go_on_from
from app.engine.plans import LoadedVersion, PlanCache


@dataclass(frozen=True, slots=True)
class Retried:
    """`due` are to be handed on once it is committed; `refused` tells why the others stay as they are."""

    due: tuple[str, ...]
    refused: Mapping[str, AutomateError]


def retry_runs(
    connection: Connection, wanted: Mapping[str, str | None], plans: PlanCache, control: Control
) -> Retried:
    """Retry failed runs, each from the step that is named or else from its failures, in the caller's transaction."""
    held = store.HOLD.run(connection, [{"id": run_id} for run_id in sorted(wanted)])
    versions = plans.load(connection, [row.version_id for row in held])
    records = load_outlines(connection, [row.id for row in held if row.status is RunStatus.FAILED])
    anew: dict[str, tuple[int, Anew]] = {}
    refused: dict[str, AutomateError] = {}
    for row in held:
        try:
            plan = _plan_of(row, versions.get(row.version_id), control.at)
            found = _going_on(plan, records.get(row.id, {}), wanted[row.id])
            anew[row.id] = row.epoch + 1, found
        except AutomateError as refusal:
            refused[row.id] = refusal
    _write(connection, anew, control)
    return Retried(tuple(anew), refused)


def load_outlines(connection: Connection, run_ids: Sequence[str]) -> dict[str, Record]:
    """Return what is recorded of runs, without inputs, outputs and errors."""
    states: dict[str, list[StepState]] = {}
    rows = [{"id": run_id} for run_id in run_ids]
    for row in store.LOAD_OUTLINE.run(connection, rows) if rows else ():
        outline = StepState(
            row.path,
            row.type,
            row.status,
            row.attempt,
            row.seq,
            retry_at=row.retry_at,
            started_at=row.started_at,
        )
        states.setdefault(row.run_id, []).append(outline)
    return {run_id: latest(attempts) for run_id, attempts in states.items()}


def _plan_of(row: Row[Any], version: LoadedVersion | None, now: datetime) -> Plan:
    if row.status is not RunStatus.FAILED:
        raise RunNotRetryable(f"The run is {row.status}: only a failed run can be retried.")
    if version is None or not isinstance(version.plan, Plan):
        raise RunNotRetryable("The version that the run has executed cannot be read any more.")
    seconds = version.plan.timeout_seconds
    if (
        seconds is not None
        and row.started_at
        and row.started_at + timedelta(seconds=seconds) <= now
    ):
        raise RunNotRetryable(
            f"The run is failed, and its timeout_seconds ({seconds:g}) have passed since it started: replay it instead."
        )
    return version.plan


def _going_on(plan: Plan, record: Record, path: str | None) -> Anew:
    if path is not None:
        state = record.get(path)
        if state is None:
            raise NotFound(f"No step {path} has started in this run.")
        if state.status not in ENDED_IN_FAILURE:
            raise StepNotRetryable(
                f"Step {path} is {state.status}: only a failed step can be retried."
            )
    return go_on_from(plan, record, path)


def _write(connection: Connection, anew: Mapping[str, tuple[int, Anew]], control: Control) -> None:
    if not anew:
        return
    store.RETRY.run(
        connection,
        [{"id": run_id} for run_id in anew],
        again=control.at + HINT_GRACE,
        control=control.stored,
    )
    _forget_calls(connection, sorted(anew))
    superseded = [
        {"run_id": run_id, "path": path, "changed": epoch * CHECKPOINTS_PER_EPOCH}
        for run_id, (epoch, found) in anew.items()
        for path in found.superseded
    ]
    if superseded:
        store.FORGET_SKIPPED.run(connection, superseded)
        store.SUPERSEDE.run(connection, superseded)
    reopened = [
        row
        for run_id, (epoch, found) in anew.items()
        for row in reopened_rows(run_id, epoch, found.reopened)
    ]
    if reopened:
        engine_store.UPSERT_STEPS.run(connection, reopened)


def _forget_calls(connection: Connection, run_ids: Sequence[str]) -> None:
    """Make no more calls that tell the end which the runs had: their next one makes its own."""
    rows = [{"run_id": run_id} for run_id in run_ids]
    hooks.HOLD_CALLS.run(connection, rows)
    hooks.FORGET_CALLS.run(connection, rows, because=GONE)


def reopened_rows(
    run_id: str, epoch: int, loops: Sequence[StepState]
) -> Sequence[Mapping[str, Any]]:
    """Return the rows of loops that go on where they stood."""
    number = epoch * CHECKPOINTS_PER_EPOCH
    return [*Checkpoint(run_id, epoch, tuple(loops), number=number).step_rows()]
