"""Hold queued runs that a guard does not let begin or go on, and let them go once it does."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.engine.guards import store
from app.engine.guards.gate import Gate
from app.engine.store import HINT_GRACE_SECONDS


def hold_queued(connection: Connection, run_ids: Sequence[str], gate: Gate) -> Sequence[str]:
    """Return those of the runs that may be claimed; the others are paused, in the caller's transaction.

    A run that is paused is swept no more, so ten thousand of them cost nothing until they are let go.
    """
    if not gate.watchful:
        return run_ids
    held, free = [], []
    for row in store.LOOK_AT_QUEUED.run(connection, [{"id": run_id} for run_id in run_ids]):
        verdict = gate.of_run(row.owner_id, row.workflow_id, begun=bool(row.begun))
        if verdict is None:
            free.append(row.id)
        else:
            held.append({"id": row.id, "waiting_for": [verdict.shown], "held_by": verdict.id})
    if held:
        store.HOLD.run(connection, held)
    return free


def release_held(
    connection: Connection, holder_id: str, now: datetime, batch: int
) -> tuple[str, ...]:
    """Let runs go on that this holds, in the caller's transaction; returns those to be handed on after it."""
    again = now + timedelta(seconds=HINT_GRACE_SECONDS)
    released = store.RELEASE.run(connection, holder=holder_id, again=again, batch=batch)
    return tuple(row.id for row in released)
