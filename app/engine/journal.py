"""The journal: checkpoints of many runs in one commit, each fenced by its worker and epoch."""

import asyncio
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.db.group_commit import GroupCommit
from app.engine import store
from app.engine.active_run import Checkpoint

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
log = get_logger(__name__)


class Journal:
    """Writes checkpoints by group commit; waits out a database that is away."""

    def __init__(self, engine: Engine, worker_id: Callable[[], str]) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._commits: GroupCommit[Checkpoint, bool] = GroupCommit(self._flush, name="journal")

    async def write(self, checkpoint: Checkpoint) -> bool:
        """Return True once the checkpoint is committed, False when the run is no longer this worker's.

        While the database is away it is tried again: written twice, a checkpoint is the same as once.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._commits.submit(checkpoint)
            except Unavailable as fault:
                log.warning(
                    "checkpoint_postponed",
                    run_id=checkpoint.run_id,
                    reason=str(fault.__cause__ or fault),
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    async def close(self) -> None:
        """Flush what is pending and stop."""
        await self._commits.close()

    def _flush(self, batch: Sequence[Checkpoint]) -> Sequence[bool | Exception]:
        with self._engine.begin() as connection:
            held = store.fence(
                connection,
                self._worker_id(),
                [{"id": item.run_id, "epoch": item.epoch} for item in batch],
            )
            write_checkpoints(connection, [item for item in batch if item.run_id in held])
        return [item.run_id in held for item in batch]


def write_checkpoints(connection: Connection, batch: Sequence[Checkpoint]) -> None:
    """Write checkpoints of runs that are known to be the worker's, in the caller's transaction."""
    steps = [row for item in batch for row in item.step_rows()]
    if steps:
        store.UPSERT_STEPS.run(connection, steps)
    lines = [row for item in batch for row in item.log_rows()]
    if lines:
        store.INSERT_LOGS.run(connection, lines)
    left = [item.run_row() for item in batch if item.leave is not None]
    if left:
        store.LEAVE.run(connection, left)
