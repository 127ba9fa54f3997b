"""The journal: checkpoints of many runs in one commit, each fenced by its worker and epoch."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.db.group_commit import GroupCommit
from app.engine import store
from app.engine.checkpoint import Checkpoint
from app.engine.commands import carry_out
from app.engine.credentials.uses import record_uses
from app.engine.followups import FollowUp, Followups
from app.engine.guards.policy_book import book_of
from app.engine.metrics.meters import WorkerMeters
from app.engine.waiting.opening import write_waits

FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
log = get_logger(__name__)


class Verdict(Enum):
    """What became of a checkpoint."""

    KEPT = "kept"
    PAUSED = "paused"
    """The run is paused: what ended is written, what was to start is not."""
    LOST = "lost"
    """The run is no longer this worker's: nothing is written."""


Written = tuple[list[Verdict], Followups]
Write = Callable[[Connection, str, Sequence[Checkpoint]], Written]


class Journal:
    """Writes checkpoints by group commit; waits out a database that is away."""

    def __init__(
        self,
        engine: Engine,
        worker_id: Callable[[], str],
        follow_up: FollowUp,
        meters: WorkerMeters,
    ) -> None:
        self._engine = engine
        self._meters = meters
        self._worker_id = worker_id
        self._follow_up = follow_up
        self._commits: GroupCommit[Checkpoint, Verdict] = GroupCommit(
            self._flush, name="journal", observe=meters.batches_of("journal")
        )

    async def write(self, checkpoint: Checkpoint) -> Verdict:
        """Return what became of the checkpoint, once that is committed.

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

    def _flush(self, batch: Sequence[Checkpoint]) -> Sequence[Verdict | Exception]:
        verdicts: dict[int, Verdict] = {}
        for places in _turns(batch):
            found = self._flush_turn([batch[place] for place in places])
            verdicts.update(zip(places, found, strict=True))
        return [verdicts[place] for place in range(len(batch))]

    def _flush_turn(self, batch: Sequence[Checkpoint]) -> Sequence[Verdict]:
        verdicts, followups = self._write_expected(batch) or self._write(batch, write_fenced)
        if followups:
            self._follow_up(followups)
        self._meters.written(
            _with(Verdict.KEPT, batch, verdicts), _with(Verdict.PAUSED, batch, verdicts)
        )
        return verdicts

    def _write_expected(self, batch: Sequence[Checkpoint]) -> Written | None:
        """Write the checkpoints as if all runs were still held and running; returns None when some are not."""
        if self._engine.dialect.name != "postgresql":
            return None  # no round trip to be saved
        try:
            return self._write(batch, _write_held)
        except DataError as error:
            if getattr(error.orig, "pgcode", None) == store.NOT_ALL_HELD:
                return None
            raise

    def _write(self, batch: Sequence[Checkpoint], write: Write) -> Written:
        with self._engine.begin() as connection:
            return write(connection, self._worker_id(), batch)


def _turns(batch: Sequence[Checkpoint]) -> Sequence[Sequence[int]]:
    """Return the places of checkpoints in turns of which each holds a run once.

    A run that was interrupted, or dropped and claimed again, while its checkpoint waited here comes twice: the second
    checkpoint is written to what the first has left, or is refused, for the one epoch says nothing of the other.
    """
    turns: list[list[int]] = []
    seen: Counter[str] = Counter()
    for place, item in enumerate(batch):
        if seen[item.run_id] == len(turns):
            turns.append([])
        turns[seen[item.run_id]].append(place)
        seen[item.run_id] += 1
    return turns


def _with(
    wanted: Verdict, batch: Sequence[Checkpoint], verdicts: Sequence[Verdict]
) -> list[Checkpoint]:
    found = verdicts.count(wanted)
    if found in {0, len(batch)}:  # nearly always
        return list(batch) if found else []
    return [item for item, verdict in zip(batch, verdicts, strict=True) if verdict is wanted]


def _write_held(connection: Connection, worker_id: str, batch: Sequence[Checkpoint]) -> Written:
    """Write the checkpoints in the caller's transaction, which fails unless this worker holds all of their runs."""
    store.fence_all(connection, worker_id, _keys(batch))
    return [Verdict.KEPT] * len(batch), write_checkpoints(connection, batch)


def write_fenced(connection: Connection, worker_id: str, batch: Sequence[Checkpoint]) -> Written:
    """Write those of the checkpoints whose runs this worker still holds, in the caller's transaction."""
    held = store.fence(connection, worker_id, _keys(batch))
    verdicts = [_verdict(held.get(item.run_id)) for item in batch]
    writing = [
        item.when_paused() if verdict is Verdict.PAUSED else item
        for item, verdict in zip(batch, verdicts, strict=True)
        if verdict is not Verdict.LOST
    ]
    return verdicts, write_checkpoints(connection, writing)


def _keys(batch: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    return [{"id": item.run_id, "epoch": item.epoch} for item in batch]


def _verdict(status: RunStatus | None) -> Verdict:
    if status is None:
        return Verdict.LOST
    return Verdict.PAUSED if status is RunStatus.PAUSED else Verdict.KEPT


def write_checkpoints(connection: Connection, batch: Sequence[Checkpoint]) -> Followups:
    """Write checkpoints of runs that are known to be the worker's, in the caller's transaction."""
    steps = [row for item in batch for row in item.step_rows()]
    if steps:
        store.UPSERT_STEPS.run(connection, steps)
    lines = [row for item in batch for row in item.log_rows()]
    if lines:
        store.INSERT_LOGS.run(connection, lines)
    followups = write_waits(connection, batch) + carry_out(connection, batch)
    left = [item.run_row() for item in batch if item.leave is not None]
    if left:
        store.LEAVE.run(connection, left)
    followups += Followups(ended_runs=_ended_children(batch), freed=_freed(connection, batch))
    record_uses(connection, batch)  # last: it holds up others until the commit
    return followups


def _freed(connection: Connection, batch: Sequence[Checkpoint]) -> tuple[tuple[str, str], ...]:
    policies = book_of(connection.engine).latest
    if not policies.caps_concurrency:
        return ()
    return tuple({(it.facts.owner_id, it.facts.workflow_id) for it in batch if it.leave})


def _ended_children(batch: Sequence[Checkpoint]) -> tuple[str, ...]:
    return tuple(
        item.run_id
        for item in batch
        if item.facts.depth and item.leave and item.leave["status"] in FINAL_RUN_STATUSES
    )
