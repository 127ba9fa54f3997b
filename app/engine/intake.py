"""Accept runs: many in one statement, each with the key that keeps a repeated event from running twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.core.errors import Unavailable
from app.core.ids import new_id
from app.core.statuses import RunStatus, TriggerKind
from app.engine import dedupe, store
from app.engine.guards.admission import Refused, refusals

__all__ = ["Accepted", "NewRun", "Refused", "accept"]

KEY_TRIES = 3
"""How often a key may become free between the look at it and the look for its run, before the trigger is put off."""


@dataclass(frozen=True, slots=True)
class SignedDelivery:
    """A signed call that starts a run once: known by its `key`, and by the sender's own `id` for it."""

    key: str
    id: str | None
    kept_seconds: int


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
    """E-mail address of the person who starts it, or its first parent, by hand, by a schedule or by an event."""
    input_hash: str | None = None
    """Set when an equal input whose run has succeeded is to answer instead of a new run."""
    key_ttl_seconds: int | None = None
    """How long key and hash count; None: for ever."""
    delivery: SignedDelivery | None = None
    """Set when a signature has started it: `app.engine.deliveries` sees to it that none does so twice."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run that a trigger has made, or the earlier one that has its key."""

    run_id: str
    status: RunStatus
    duplicate: bool
    owner_id: str | None = None
    """Whose new run it is; None: not told of an earlier one."""


def accept(
    connection: Connection, runs: Sequence[NewRun], now: datetime
) -> list[Accepted | Refused]:
    """Insert runs in the caller's transaction; returns one answer per run, in order. Policies may refuse some."""
    rows = [_row(run, now) for run in runs]
    hashed = [row for row in rows if row["input_hash"]]
    known: dict[str, Accepted | Refused] = {}
    if hashed:
        known |= _known(connection, hashed, now)
    places = refusals(connection, runs, now)
    if places:
        refused = {rows[place]["id"]: answer for place, answer in places.items()}
        again = _earlier(connection, [row for row in rows if row["id"] in refused])
        known = {**refused, **again, **known}
    new = [row for row in rows if row["id"] not in known] if known else rows
    known |= _insert(connection, new, now)
    return [
        known.get(row["id"])
        or Accepted(row["id"], RunStatus.QUEUED, duplicate=False, owner_id=row["owner_id"])
        for row in rows
    ]


def _earlier(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, Accepted]:
    """Return the runs of triggers that come again: they start nothing, so that no policy refuses them."""
    keyed = [row for row in rows if row["idempotency_key"]]
    return {
        row_id: Accepted(run_id, status, duplicate=True)
        for row_id, (run_id, status) in dedupe.find_by_key(connection, keyed).items()
    }


def _known(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, Accepted]:
    """Return the runs that have worked on the inputs of some of the rows already."""
    return {
        row_id: Accepted(run_id, RunStatus.SUCCEEDED, duplicate=True)
        for row_id, run_id in dedupe.find_succeeded(connection, rows, now).items()
    }


def _insert(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, Accepted]:
    """Insert rows; returns the earlier runs that hold the keys of those that were not inserted.

    Raises:
        Unavailable: keys have become free again and again; what was asked for may be asked once more.
    """
    earlier: dict[str, Accepted] = {}
    for _ in range(KEY_TRIES):
        left = _insert_new(connection, rows)
        if left and dedupe.free_expired_keys(connection, left, now):
            left = _insert_new(connection, left)
        found = dedupe.find_by_key(connection, left)
        for row_id, (run_id, status) in found.items():
            earlier[row_id] = Accepted(run_id, status, duplicate=True)
        # A key that was in the way and has no run any more has expired meanwhile, and a duty has freed it.
        rows = [row for row in left if row["idempotency_key"] and row["id"] not in found]
        if not rows:
            return earlier
    raise Unavailable("The Idempotency-Key has just expired: try again shortly.")


def _insert_new(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Insert rows whose keys are new; returns the others."""
    if not rows:
        return []
    # In the order of their keys: two processes that take the same keys at once then never wait in a circle.
    ordered = sorted(rows, key=_key_order)
    inserted = {row.id for row in store.INSERT_RUNS.run(connection, ordered)}
    return (
        [] if len(inserted) == len(rows) else [row for row in ordered if row["id"] not in inserted]
    )


def _key_order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["workflow_id"], row["idempotency_key"] or ""


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    kept = run.key_ttl_seconds is not None and (run.idempotency_key or run.input_hash)
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
        "key_expires_at": now + timedelta(seconds=run.key_ttl_seconds or 0) if kept else None,
        "input_hash": run.input_hash,
        "wake_at": now + timedelta(seconds=store.HINT_GRACE_SECONDS),
        "created_at": now,
        "depth": run.depth,
        "parent_run_id": run.parent_run_id,
        "parent_path": run.parent_path,
        "started_by": run.started_by,
    }
