"""Let paused runs go on."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.core.statuses import RunStatus
from app.engine.controls import store
from app.engine.controls.control import HINT_GRACE, Control


@dataclass(frozen=True, slots=True)
class Resumed:
    """`run_ids` go on; those that are `due` are to be handed on once it is committed."""

    run_ids: frozenset[str]
    due: tuple[str, ...]


def resume_runs(connection: Connection, run_ids: Sequence[str], control: Control) -> Resumed:
    """Resume those of the runs that are paused, in the caller's transaction.

    One that a worker still holds is told to look at its waits again, and goes back to the queue when that worker lets go.
    """
    rows = [{"id": run_id} for run_id in sorted(set(run_ids))]
    again = control.at + HINT_GRACE
    resumed = store.RESUME.run(connection, rows, again=again, control=control.stored)
    due = tuple(row.id for row in resumed if row.status is RunStatus.QUEUED)
    return Resumed(frozenset(row.id for row in resumed), due)
