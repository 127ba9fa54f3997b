"""Forget waits: of steps that are settled, and of runs that are over."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.engine.waiting import store


def close_waits(connection: Connection, keys: Sequence[Mapping[str, Any]]) -> None:
    """Forget waits by `run_id`, `path` and `attempt`, ended or not; runs that were waited for will be cancelled."""
    store.ABANDON.run(connection, keys)
    store.CLOSE.run(connection, keys)


def close_waits_of(connection: Connection, run_ids: Sequence[str]) -> None:
    """Forget every wait of runs that are over."""
    store.CLOSE_ALL.run(connection, [{"id": run_id} for run_id in run_ids])
