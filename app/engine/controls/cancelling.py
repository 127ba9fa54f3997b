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
    # All of them before anything is written, in one order: a worker may hold one of the children, and want one of the parents.
    held = _with_those_below(connection, run_ids)
    lock_runs(connection, sorted(held))
    return _cancel(connection, run_ids, control, held)


def _with_those_below(connection: Connection, run_ids: Sequence[str]) -> frozenset[str]:
    """Return runs, those that steps of them wait for, and so on: level by level, each looked up in the index."""
    found, level = set(run_ids), set(run_ids)
    while level:
        rows = [{"id": run_id} for run_id in sorted(level)]
        level = {row.id for row in store.FIND_CHILDREN.run(connection, rows)} - found
        found |= level
    return frozenset(found)


def _cancel(
    connection: Connection, run_ids: Sequence[str], control: Control, held: frozenset[str]
) -> frozenset[str]:
    """Cancel runs that are held, and those below them; one that has begun below them meanwhile is left to a duty."""
    rows = [{"id": run_id} for run_id in sorted(set(run_ids))]
    children = held.intersection(row.id for row in store.FIND_CHILDREN.run(connection, rows))
    cancelled = frozenset(
        row.id for row in store.CANCEL.run(connection, rows, now=control.at, control=control.stored)
    )
    if not cancelled:
        return cancelled
    ended = [{"id": run_id} for run_id in sorted(cancelled)]
    store.CANCEL_STEPS.run(connection, ended, now=control.at, commits=CHECKPOINTS_PER_EPOCH)
    because = control.reason or "The run that waited for it was cancelled."
    below = replace(control, reason=because)
    others = _cancel(connection, sorted(children), below, held) if children else frozenset()
    close_waits_of(connection, sorted(cancelled))
    return cancelled | others
