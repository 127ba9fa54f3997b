"""Which of the results that a replay keeps people have decided, for the run that it replays."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection

from app.engine.controls import store

ASKING_TYPES: Final = frozenset({"approval", "wait_for_approval"})


def kept_decisions(connection: Connection, replay_id: str) -> Sequence[str]:
    """Return the paths of steps at which people have decided, themselves or in runs that they have waited for, in order."""
    kept = store.KEPT_RESULTS.run(connection, run_id=replay_id)
    below = _asked_below(connection, _replayed(connection, replay_id))
    return [row.path for row in kept if row.type in ASKING_TYPES or row.path in below]


def _replayed(connection: Connection, run_id: str) -> Sequence[str]:
    """Return the run that a run replays, the one that this has replayed, and so on."""
    found: list[str] = []
    while rows := store.REPLAYED.run(connection, id=run_id):
        run_id = rows[0].replay_of
        found.append(run_id)
    return found


def _asked_below(connection: Connection, run_ids: Collection[str]) -> Collection[str]:
    """Return the steps of runs in whose sub-workflows, or theirs, somebody was asked."""
    paths: dict[str, str] = {}
    level: dict[str, str | None] = dict.fromkeys(run_ids)
    while level:
        rows = store.CHILDREN.run(connection, [{"id": run_id} for run_id in level])
        level = {row.id: level[row.parent_run_id] or row.parent_path for row in rows}
        paths |= {run_id: path for run_id, path in level.items() if path is not None}
    asked = store.WHO_ASKED.run(connection, [{"id": run_id} for run_id in paths]) if paths else ()
    return {paths[row.run_id] for row in asked}
