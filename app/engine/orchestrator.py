"""Drives runs: decide, attempt, checkpoint, decide again. One event loop, hundreds of runs."""

import asyncio
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx

from app.core.clock import Clock
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.engine.active_run import ActiveRun, Checkpoint
from app.engine.claims import Claims
from app.engine.executor import Attempt, AttemptContext, LogLine, run_attempt
from app.engine.journal import Journal
from app.engine.lease import Lease
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, Outcome, settle
from app.engine.registry import Catalogue
from app.engine.slots import Slots

LEASE_POLL_SECONDS = 0.1
GIVE_BACK_SECONDS = 3.0
"""How long a stopping process waits for a database that is away; its runs are then taken over as those of a dead one."""
log = get_logger(__name__)

Ended = tuple[Outcome, Sequence[LogLine]]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the orchestrator works with."""

    catalogue: Catalogue
    claims: Claims
    journal: Journal
    lease: Lease
    slots: Slots
    http: httpx.AsyncClient
    clock: Clock
    max_output_bytes: int


class Orchestrator:
    """Holds the runs of one worker process. `advance` is called from other threads; everything else is on the loop."""

    def __init__(self, workshop: Workshop, loop: asyncio.AbstractEventLoop) -> None:
        self._shop = workshop
        self._loop = loop
        self._runs: dict[asyncio.Task[None], ActiveRun] = {}
        self._draining = False
        self._claiming = threading.Lock()
        self._held: dict[str, int] = {}

    @property
    def in_flight(self) -> int:
        """Return how many runs this process holds."""
        return len(self._runs)

    def advance(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Claim runs and hand them to the event loop; returns those not tried because the process is stopping.

        Blocks while the process is at its limit, so that waiting runs stay in the queue.

        Raises:
            Unavailable: this process may not claim right now.
        """
        rest = list(run_ids)
        while rest:
            granted = self._shop.slots.acquire(len(rest))
            if granted == 0:
                break
            batch, rest = rest[:granted], rest[granted:]
            runs: list[ActiveRun] = []
            try:
                runs = self._claim(batch)
            finally:
                self._shop.slots.release(granted - len(runs))
            self._loop.call_soon_threadsafe(self._adopt, runs)
        return rest

    def _claim(self, run_ids: Sequence[str]) -> list[ActiveRun]:
        with self._claiming:
            if not self._shop.lease.valid():
                raise Unavailable("The lease could not be renewed: nothing is claimed until it is.")
            runs = self._shop.claims.take(self._shop.lease.worker_id, run_ids)
            self._held.update((run.id, run.epoch) for run in runs)
        return runs

    def release_strays(self) -> int:
        """Give back runs that are this worker's in the database but not here: a claim whose answer was lost."""
        with self._claiming:
            return self._shop.claims.release_strays(self._shop.lease.worker_id, tuple(self._held))

    def stop_claiming(self) -> None:
        """Take no more runs, and start nothing new in those that are held."""
        self._draining = True
        self._shop.slots.close()

    async def drain(self, seconds: float) -> None:
        """Let attempts in flight end, interrupt the rest after `seconds`; all runs are given back."""
        if self._runs:
            await asyncio.wait(self._runs, timeout=seconds)
        for task in self._runs:
            task.cancel()
        if self._runs:
            await asyncio.wait(self._runs, timeout=GIVE_BACK_SECONDS)

    def drop_all(self) -> None:
        """Let go of every run without another word: the lease is lost, and they are somebody else's."""
        for task, run in self._runs.items():
            run.dropped = True
            task.cancel()

    def _adopt(self, runs: Sequence[ActiveRun]) -> None:
        for run in runs:
            task = self._loop.create_task(self._hold(run))
            self._runs[task] = run
            task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        if self._held.get(run.id) == run.epoch:  # else it was claimed again before we let go
            del self._held[run.id]
        self._shop.slots.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("run_let_go", exc_info=task.exception())

    async def _hold(self, run: ActiveRun) -> None:
        try:
            await self._drive(run)
        except asyncio.CancelledError:
            if not run.dropped:
                now = self._shop.clock.now()
                await self._shop.journal.write(run.interrupted(now, self._shop.catalogue.on_lost))
        except Exception as error:
            log.exception("run_broken", run_id=run.id)
            await self._shop.journal.write(run.broken(error, self._shop.clock.now()))

    async def _drive(self, run: ActiveRun) -> None:
        tasks: dict[asyncio.Task[Ended], StepState] = {}
        try:
            while True:
                await self._until_lease_is_valid()
                for state in run.started:
                    tasks[asyncio.create_task(self._attempt(run, state))] = state
                done, _ = await asyncio.wait(
                    tasks,
                    timeout=run.seconds_to_next_wait(self._shop.clock.now()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                checkpoint = self._settle(run, [(tasks.pop(task), task.result()) for task in done])
                kept = await self._shop.journal.write(checkpoint)
                if not kept:
                    log.warning("run_taken_over", run_id=run.id, epoch=run.epoch)
                if not kept or checkpoint.leave is not None:
                    return
        finally:
            await _cancel(tasks)

    def _settle(self, run: ActiveRun, ended: Sequence[tuple[StepState, Ended]]) -> Checkpoint:
        now = self._shop.clock.now()
        ended = [(state, (run.within_limit(outcome), lines)) for state, (outcome, lines) in ended]
        settled = [
            settle(state, outcome, run.plan.steps[state.path].retry, now, random.random)
            for state, (outcome, _) in ended
        ]
        lines = [(state, written) for state, (_, written) in ended if written]
        return run.advance(settled, lines, now, draining=self._draining)

    async def _attempt(self, run: ActiveRun, state: StepState) -> Ended:
        step = run.plan.steps[state.path]
        node = self._shop.catalogue.get(step.type)
        if node is None:
            return Failed(
                "unknown_node_type", f"This worker has no node type {step.type!r}.", again=False
            ), ()
        context = AttemptContext(
            run.id, state.path, state.attempt, self._shop.http, self._shop.clock
        )
        attempt = Attempt(
            step=step,
            node=node,
            scope=run.scope(state),
            context=context,
            timeout_seconds=self._seconds_left(run, step.timeout_seconds),
            max_output_bytes=self._shop.max_output_bytes,
        )
        return await run_attempt(attempt), context.lines

    def _seconds_left(self, run: ActiveRun, timeout_seconds: float) -> float:
        if run.deadline is None:
            return timeout_seconds
        return max(0.0, min(timeout_seconds, _seconds_until(run.deadline, self._shop.clock.now())))

    async def _until_lease_is_valid(self) -> None:
        """Start nothing while the lease could not be renewed; once it is lost for good, `drop_all` ends this wait."""
        while not self._shop.lease.valid():  # noqa: ASYNC110 - it is another thread that renews it
            await asyncio.sleep(LEASE_POLL_SECONDS)


async def _cancel(tasks: dict[asyncio.Task[Ended], StepState]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _seconds_until(time: datetime, now: datetime) -> float:
    return (time - now).total_seconds()
