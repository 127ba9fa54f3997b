"""What a worker must know of the past of a run that was begun before: its attempts, and the waits that have ended."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from app.engine import store
from app.engine.active_run import EndedWait
from app.engine.artifacts.store import Artifact
from app.engine.outputs import Recorded
from app.engine.planning.record import StepState, read_wait
from app.engine.waiting.ending import load_ended


@dataclass(slots=True)
class Past:
    """`superseded` counts the attempts that are history only, by path."""

    recorded: list[Recorded] = field(default_factory=list)
    superseded: dict[str, int] = field(default_factory=dict)
    ended_waits: Sequence[EndedWait] = ()

    @property
    def has_artifacts(self) -> bool:
        """Tell whether outputs lie in the artifact store."""
        return any(artifact is not None for _, artifact in self.recorded)


def load_pasts(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, Past]:
    """Return the pasts of runs by id; of one that never began, an empty one."""
    pasts: dict[str, Past] = defaultdict(Past)
    if not run_ids:
        return pasts
    for row in store.LOAD_STEPS.run(connection, [{"id": run_id} for run_id in run_ids]):
        run_id, *state, sha256, size, wait, superseded = tuple[Any, ...](row)
        past = pasts[run_id]
        if superseded:
            past.superseded[row.path] = max(row.attempt, past.superseded.get(row.path, 0))
            continue
        artifact = None if sha256 is None else Artifact(sha256, size)
        past.recorded.append((replace(StepState(*state), wait=read_wait(wait)), artifact))
    for run_id, ended in load_ended(connection, run_ids).items():
        pasts[run_id].ended_waits = ended
    return pasts
