"""Forget waits: of steps that are settled, and of runs that are over. What nobody has decided is not asked any more."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from app.core.statuses import WaitKind
from app.engine.approvals.store import CANCEL
from app.engine.waiting import store


def close_waits(connection: Connection, keys: Sequence[Mapping[str, Any]]) -> None:
    """Forget waits by `run_id`, `path` and `attempt`, ended or not; runs that were waited for will be cancelled."""
    store.ABANDON.run(connection, keys)
    _cancel_approvals(connection, store.CLOSE.run(connection, keys))


def close_waits_of(connection: Connection, run_ids: Sequence[str]) -> None:
    """Forget every wait of runs that are over; runs that go on although one of these waited for them will be cancelled."""
    rows = [{"id": run_id} for run_id in run_ids]
    store.ABANDON_ALL.run(connection, rows)
    _cancel_approvals(connection, store.CLOSE_ALL.run(connection, rows))


def _cancel_approvals(connection: Connection, closed: Sequence[Row[Any]]) -> None:
    asked = [
        {"run_id": row.run_id, "path": row.path, "attempt": row.attempt}
        for row in closed
        if row.kind is WaitKind.APPROVAL
    ]
    if asked:
        CANCEL.run(connection, asked)
