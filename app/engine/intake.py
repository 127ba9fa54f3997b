"""Accept runs: many in one statement, each with the key that keeps a repeated event from running twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.core.ids import new_id
from app.core.statuses import RunStatus, TriggerKind
from app.engine import store
from app.engine.duties.sweep import HINT_GRACE_SECONDS


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
    refused = [row for row in rows if row["id"] not in inserted]
    earlier = {
        (row.workflow_id, row.idempotency_key): row for row in store.FIND_BY_KEY.run(connection, refused)
    } if refused else {}  # fmt: skip
    answers = []
    for row in rows:
        if row["id"] in inserted:
            answers.append(Accepted(row["id"], RunStatus.QUEUED, duplicate=False))
        else:
            first = earlier[row["workflow_id"], row["idempotency_key"]]
            answers.append(Accepted(first.id, first.status, duplicate=True))
    return answers


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "owner_id": run.owner_id,
        "workflow_id": run.workflow_id,
        "version_id": run.version_id,
        "version": run.version,
        "trigger_kind": run.trigger,
        "input": run.input,
        "idempotency_key": run.idempotency_key,
        "wake_at": now + timedelta(seconds=HINT_GRACE_SECONDS),
        "created_at": now,
    }
