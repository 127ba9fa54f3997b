"""Cancel runs, and those that their steps wait for."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from app.engine.checkpoint import CHECKPOINTS_PER_EPOCH
from app.engine.controls import store
from app.engine.controls.control import Control
from app.engine.waiting.closing import close_waits_of
from app.engine.waiting.ending import lock_runs


def cancel_runs(connection: Connection, run_ids: Sequence[str], control: Control) -> frozenset[str]:
    """Cancel those of the runs that are not over, in the caller's transaction; returns which.

    A worker that holds one finds its writes refused, and interrupts its attempts within a second.
    """
    lock_runs(connection, run_ids)
    rows = [{"id": run_id} for run_id in sorted(set(run_ids))]
    children = [row.id for row in store.FIND_CHILDREN.run(connection, rows)]
    cancelled = frozenset(
        row.id for row in store.CANCEL.run(connection, rows, now=control.at, control=control.stored)
    )
    if not cancelled:
        return cancelled
    ended = [{"id": run_id} for run_id in sorted(cancelled)]
    store.CANCEL_STEPS.run(connection, ended, now=control.at, commits=CHECKPOINTS_PER_EPOCH)
    close_waits_of(connection, sorted(cancelled))
    if children:
        below = replace(
            control, reason=control.reason or "The run that waited for it was cancelled."
        )
        cancelled |= cancel_runs(connection, children, below)
    return cancelled
