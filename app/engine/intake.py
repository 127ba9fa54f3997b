"""Accept runs: many in one statement, each with the key that keeps a repeated event from running twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.core.ids import new_id
from app.core.statuses import RunStatus, TriggerKind
from app.engine import store


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be accepted. Of the runs of a workflow, only the first with an `idempotency_key` is made."""

    owner_id: str
    workflow_id: str
    version_id: str
    version: int
    trigger: TriggerKind
    input: Any
    idempotency_key: str | None = None
    context: Mapping[str, Any] | None = None
    """On what grounds it is started: `assumptions`, `data_scope`, `legal_basis`."""
    id: str | None = None
    """None: a fresh one."""
    depth: int = 0
    parent_run_id: str | None = None
    parent_path: str | None = None
    started_by: str | None = None
    """E-mail address of the person who starts it, or its first parent, by hand or by an event."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run that a trigger has made, or the earlier one that has its key."""

    run_id: str
    status: RunStatus
    duplicate: bool


def accept(connection: Connection, runs: Sequence[NewRun], now: datetime) -> list[Accepted]:
    """Insert runs in the caller's transaction; returns one answer per run, in order."""
    rows = [_row(run, now) for run in runs]
    inserted = {row.id for row in store.INSERT_RUNS.run(connection, rows)}
    if len(inserted) == len(rows):
        return [Accepted(row["id"], RunStatus.QUEUED, duplicate=False) for row in rows]
    earlier = _earlier(connection, [row for row in rows if row["id"] not in inserted])
    return [
        Accepted(row["id"], RunStatus.QUEUED, duplicate=False)
        if row["id"] in inserted
        else earlier[row["workflow_id"], row["idempotency_key"]]
        for row in rows
    ]


def _earlier(
    connection: Connection, rows: Sequence[dict[str, Any]]
) -> dict[tuple[str, str], Accepted]:
    """Return the runs that hold the keys of those that were not inserted."""
    found = store.FIND_BY_KEY.run(connection, rows)
    return {
        (row.workflow_id, row.idempotency_key): Accepted(row.id, row.status, duplicate=True)
        for row in found
    }


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    return {
        "id": run.id or new_id(),
        "owner_id": run.owner_id,
        "workflow_id": run.workflow_id,
        "version_id": run.version_id,
        "version": run.version,
        "trigger_kind": run.trigger,
        "input": run.input,
        "idempotency_key": run.idempotency_key,
        **({} if run.context is None else {"context": run.context}),
        "wake_at": now + timedelta(seconds=store.HINT_GRACE_SECONDS),
        "created_at": now,
        "depth": run.depth,
        "parent_run_id": run.parent_run_id,
        "parent_path": run.parent_path,
        "started_by": run.started_by,
    }
