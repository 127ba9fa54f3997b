"""End the waits of steps for runs that are over; their runs go on with what came of them."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Engine, Row

from app.core.clock import Clock
from app.core.logging import get_logger
from app.core.statuses import RunStatus
from app.engine.artifacts.store import (
    Artifact,
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactStore,
    ArtifactStoreUnavailable,
)
from app.engine.children import store
from app.engine.planning.transitions import Failed, Resolution, resolution_of
from app.engine.waiting.ending import WaitEnd, end_waits

BATCH = 100
CODES = {
    RunStatus.FAILED: "child_failed",
    RunStatus.CANCELLED: "child_cancelled",
    RunStatus.TIMED_OUT: "child_timed_out",
}
ENDINGS = {
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "was cancelled",
    RunStatus.TIMED_OUT: "took longer than its workflow allows",
}
log = get_logger(__name__)


class ChildEndings:
    """Tells waiting steps how the runs that they have started came out."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        artifacts: ArtifactStore,
        hand_on: Callable[[Sequence[str]], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._artifacts = artifacts
        self._hand_on = hand_on

    def tell_of(self, run_ids: Sequence[str]) -> int:
        """End the waits for these runs, which are over; returns how many have ended by it."""
        ended = 0
        for start in range(0, len(run_ids), BATCH):
            rows = [{"id": run_id} for run_id in run_ids[start : start + BATCH]]
            with self._engine.begin() as connection:
                found = store.FIND_ENDED_OF.run(connection, rows)
            ended += self._tell(found)
        return ended

    def tell_all(self) -> int:
        """End waits for runs that are over, whoever has missed it; returns how many have ended by it."""
        with self._engine.begin() as connection:
            found = store.FIND_ENDED.run(connection, batch=BATCH)
        return self._tell(found)

    def _tell(self, found: Sequence[Row[Any]]) -> int:
        """End waits: those with large outputs one by one, so that no more than one of these is in memory."""
        small = [row for row in found if row.output_artifact is None]
        ended = self._end([_end(row, row.output) for row in small])
        for row in found:
            if row.output_artifact is not None:
                ended += self._tell_large(row)
        return ended

    def _tell_large(self, row: Row[Any]) -> int:
        try:
            data = self._artifacts.read(Artifact(row.output_artifact, row.output_bytes))
        except ArtifactStoreUnavailable:
            return 0  # it is found again
        except (ArtifactMissing, ArtifactDamaged) as fault:
            failed = Failed(fault.code, fault.detail, again=False)
            return self._end([WaitEnd(row.run_id, row.path, row.attempt, resolution_of(failed))])
        return self._end([_end(row, orjson.loads(data), row.output_bytes)])

    def _end(self, ends: Sequence[WaitEnd]) -> int:
        if not ends:
            return 0
        with self._engine.begin() as connection:
            woken = end_waits(connection, ends, self._clock.now())
        # All of them, not only those that were woken: a claim may have passed over a run while we held its row.
        self._hand_on(sorted({end.run_id for end in ends}))
        return len(woken.ended)


def _end(row: Row[Any], output: Any, output_bytes: int = 0) -> WaitEnd:
    return WaitEnd(row.run_id, row.path, row.attempt, _resolution(row, output, output_bytes))


def _resolution(row: Row[Any], output: Any, output_bytes: int) -> Resolution:
    status: RunStatus = row.status
    if status is RunStatus.SUCCEEDED:
        value = {"run_id": row.child_id, "status": status.value, "output": output}
        # Large ones count towards what a run may hold in memory.
        return {"output": value, "port": "out", "output_bytes": output_bytes}
    error = row.error or {}
    because = f": {error['message']}" if "message" in error else "."
    return resolution_of(
        Failed(
            CODES[status],
            f"The run {row.child_id} {ENDINGS[status]}{because}",
            data={"run_id": row.child_id, "status": status.value, "error": row.error},
        )
    )
