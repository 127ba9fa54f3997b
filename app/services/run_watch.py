"""Wait for runs: one question to the database for all that are waited for, and only while somebody waits."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Engine, Row, String
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import NotAuthenticated
from app.core.logging import get_logger
from app.core.permissions import Scope
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.db.statement import Statement
from app.db.types import Id, Json, Status
from app.engine.evidence.run_context import may_read, names_readers
from app.services.authentication import Callers, Proof
from app.services.runs import output_of

POLL_SECONDS = 0.075
PAUSE_SECONDS = 1.0
"""While the database does not answer."""
MAX_WAITING = 1_000
"""In one API process; whoever comes after that is answered at once."""
log = get_logger(__name__)

# Those of the runs that are over, or have answered the call that waits for them.
FIND_ANSWERS = Statement(
    """
    SELECT r.id, r.owner_id, r.context, r.status, r.output, r.output_artifact, r.output_bytes, r.error, r.response
    FROM {rows} JOIN runs r ON r.id = v.id
    WHERE r.status IN ('succeeded', 'failed', 'cancelled', 'timed_out') OR r.response IS NOT NULL
    """,
    rows={"id": "uuid"},
    returns={
        "id": Id(),
        "owner_id": Id(),
        "context": Json,
        "status": Status(RunStatus),
        "output": Json,
        "output_artifact": String(),
        "output_bytes": BigInteger(),
        "error": Json,
        "response": Json,
    },
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has come to. `response` is what a `respond` step has answered; the run may go on after it."""

    status: RunStatus
    output: Any
    error: Any
    response: Mapping[str, Any] | None
    owner_id: str
    context: Mapping[str, Any] | None
    """On what grounds the run was started, which may say who may read it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Somebody who waits. `until_end`: an answer before the run's end is not what is waited for."""

    until_end: bool
    outcome: asyncio.Future[Outcome]


class RunWatch:
    """Tells those who wait what their runs have come to. Lives on the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, set[_Waiter]] = {}
        self._count = 0
        self._poller: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return self._count

    async def outcome(self, run_id: str, *, until_end: bool) -> Outcome | None:
        """Wait until a run is over, or (unless `until_end`) has answered; None: too many wait already.

        Whoever no longer wants to wait cancels this.
        """
        if self._count >= MAX_WAITING:
            return None
        waiter = _Waiter(until_end, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(run_id, set()).add(waiter)
        self._count += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            return await waiter.outcome
        finally:
            self._forget(run_id, waiter)

    async def close(self) -> None:
        """Stop; whoever still waits is left to wait."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait({self._poller})

    def _forget(self, run_id: str, waiter: _Waiter) -> None:
        self._count -= 1
        waiters = self._waiting[run_id]
        waiters.discard(waiter)
        if not waiters:
            del self._waiting[run_id]

    async def _poll(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(POLL_SECONDS)
                await self._look([*self._waiting])
        finally:
            self._poller = None

    async def _look(self, run_ids: Sequence[str]) -> None:
        try:
            rows = await asyncio.to_thread(self._find, run_ids)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("runs_cannot_be_watched", waiting=self._count, error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
            return
        for row in rows:
            self._tell(row)

    def _find(self, run_ids: Sequence[str]) -> Sequence[Row[Any]]:
        with self._engine.begin() as connection:
            return FIND_ANSWERS.run(connection, [{"id": run_id} for run_id in run_ids])

    def _tell(self, row: Row[Any]) -> None:
        outcome = Outcome(
            status=row.status,
            output=output_of(row, row.id),
            error=row.error,
            response=row.response,
            owner_id=row.owner_id,
            context=row.context,
        )
        for waiter in self._waiting.get(row.id, ()):
            is_over = row.status in FINAL_RUN_STATUSES
            if (is_over or not waiter.until_end) and not waiter.outcome.done():
                waiter.outcome.set_result(outcome)


def may_see(callers: Callers, proof: Proof | None, now: datetime, outcome: Outcome) -> bool:
    """Tell whether a caller who has waited for a run may see its output.

    They may, unless the run's legal basis says who may read it: then these and its owner alone, by a proof that holds.
    """
    if not names_readers(outcome.context):
        return True
    if proof is None:
        return False
    try:
        caller = callers.find(proof, now)
    except NotAuthenticated:
        return False
    if Scope.RUNS_READ not in caller.scopes:
        return False
    return caller.id == outcome.owner_id or may_read(outcome.context, caller.email)
