"""Pause runs."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.engine.controls import store
from app.engine.controls.control import Control


def pause_runs(connection: Connection, run_ids: Sequence[str], control: Control) -> frozenset[str]:
    """Pause those of the runs that are queued, running or waiting, in the caller's transaction; returns which.

    Nothing of them starts any more. A worker that holds one learns of it with its next checkpoint, lets attempts in
    flight end, and gives it back. What steps wait for may end meanwhile; that is taken over when the run is resumed.
    """
    rows = [{"id": run_id} for run_id in sorted(set(run_ids))]
    paused = store.PAUSE.run(connection, rows, control=control.stored)
    return frozenset(row.id for row in paused)
