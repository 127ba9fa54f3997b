"""End waits: once each, whoever comes first; their runs go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.core.statuses import RunStatus
from app.engine.active_run import EndedWait
from app.engine.planning.transitions import Resolution
from app.engine.store import HINT_GRACE_SECONDS
from app.engine.waiting import store


@dataclass(frozen=True, slots=True)
class WaitEnd:
    """How a wait is to end."""

    run_id: str
    path: str
    attempt: int
    resolution: Resolution

    @property
    def key(self) -> tuple[str, str, int]:
        """Return which wait."""
        return self.run_id, self.path, self.attempt


@dataclass(frozen=True, slots=True)
class Woken:
    """`ended` are the waits that have ended by this; `run_ids` are to be handed on once it is committed."""

    ended: frozenset[tuple[str, str, int]]
    run_ids: tuple[str, ...]


def lock_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Hold runs until the commit: do it before locking anything else that belongs to them."""
    store.LOCK_RUNS.run(connection, [{"id": run_id} for run_id in sorted(set(run_ids))])


def end_waits(connection: Connection, ends: Sequence[WaitEnd], now: datetime) -> Woken:
    """End waits in the caller's transaction; one that has ended, or is gone, stays as it is."""
    lock_runs(connection, [end.run_id for end in ends])
    rows = [
        {
            "run_id": end.run_id,
            "path": end.path,
            "attempt": end.attempt,
            "resolution": dict(end.resolution),
        }
        for end in ends
    ]
    ended = frozenset(
        (row.run_id, row.path, row.attempt) for row in store.RESOLVE.run(connection, rows)
    )
    return Woken(ended, wake(connection, [run_id for run_id, _, _ in ended], now))


def end_due_waits(connection: Connection, now: datetime, batch: int) -> tuple[str, ...]:
    """End waits whose time is up, as they themselves have said; returns the runs to be handed on."""
    locked = store.LOCK_DUE_RUNS.run(connection, now=now, batch=batch)
    if not locked:
        return ()
    ended = store.RESOLVE_DUE.run(connection, [{"id": row.id} for row in locked], now=now)
    return wake(connection, [row.run_id for row in ended], now)


def wake(connection: Connection, run_ids: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Let runs go on of which a wait has ended; returns those that are to be handed on."""
    if not run_ids:
        return ()
    rows = [{"id": run_id} for run_id in sorted(set(run_ids))]
    again = now + timedelta(seconds=HINT_GRACE_SECONDS)
    woken = store.WAKE.run(connection, rows, again=again)
    return tuple(row.id for row in woken if row.status is RunStatus.QUEUED)


def load_ended(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, list[EndedWait]]:
    """Return the waits of runs that have ended, by run."""
    found: dict[str, list[EndedWait]] = {}
    for row in store.LOAD_ENDED.run(connection, [{"id": run_id} for run_id in run_ids]):
        found.setdefault(row.run_id, []).append(EndedWait(row.path, row.attempt, row.resolution))
    return found
