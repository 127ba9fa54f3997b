"""Drives runs: decide, attempt, checkpoint, decide again. One event loop, hundreds of runs."""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.engine.active_run import ActiveRun, EndedWait, NotKept
from app.engine.artifacts.store import Artifact
from app.engine.attempts import Ended, carry_out, is_short, settle_attempts
from app.engine.checkpoint import Checkpoint
from app.engine.first_steps import FirstSteps
from app.engine.inbox import Inbox
from app.engine.journal import Verdict
from app.engine.outputs import oversized
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Withheld
from app.engine.workshop import Workshop

LEASE_POLL_SECONDS = 0.1
GIVE_BACK_SECONDS = 3.0
"""How long a stopping process waits for a database that is away; its runs are then taken over as those of a dead one."""
log = get_logger(__name__)


@dataclass(slots=True)
class _Hand:
    """What is under way for one run: attempts, what came of those that have ended, and the checkpoint that tells of it.

    Whoever no longer waits for a checkpoint does not know whether it was committed.
    """

    tasks: dict[asyncio.Task[Ended], StepState] = field(default_factory=dict)
    came: list[tuple[StepState, Ended]] = field(default_factory=list)
    unwritten: Checkpoint | None = None

    async def interrupt(self) -> None:
        """End what runs; what had ended before has come."""
        for task, state in self.tasks.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                self.came.append((state, task.result()))
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Orchestrator:
    """Holds the runs of one worker process. `advance` is called from other threads; everything else is on the loop."""

    def __init__(self, workshop: Workshop, loop: asyncio.AbstractEventLoop) -> None:
        self._shop = workshop
        self._loop = loop
        self._runs: dict[asyncio.Task[None], ActiveRun] = {}
        self._draining = False
        self._claiming = threading.Lock()
        self._held: dict[str, int] = {}
        self._inboxes: dict[str, Inbox] = {}

    @property
    def in_flight(self) -> int:
        """Return how many runs this process holds."""
        return len(self._runs)

    def advance(self, runs: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
        """Claim runs, given by lane, and hand them to the event loop; returns those not tried, for lack of free slots.

        Raises:
            Unavailable: this process may not claim right now.
        """
        slots = self._shop.slots
        granted = {lane: slots.take(lane, len(run_ids)) for lane, run_ids in runs.items()}
        lanes = {run_id: lane for lane, count in granted.items() for run_id in runs[lane][:count]}
        claimed: list[ActiveRun] = []
        try:
            claimed = self._claim([*lanes]) if lanes else []
        finally:
            taken = Counter(lanes[run.stands_for] for run in claimed)
            for lane, count in granted.items():
                slots.release(lane, count - taken[lane])
        self._loop.call_soon_threadsafe(
            self._adopt, [(run, lanes[run.stands_for]) for run in claimed]
        )
        rest = {lane: run_ids[granted[lane] :] for lane, run_ids in runs.items()}
        return {lane: run_ids for lane, run_ids in rest.items() if run_ids}

    def _claim(self, run_ids: Sequence[str]) -> list[ActiveRun]:
        with self._claiming:
            if not self._shop.lease.valid():
                raise Unavailable("The lease could not be renewed: nothing is claimed until it is.")
            if not self._shop.gate.open():
                raise Unavailable(
                    "The kill switches could not be read: nothing is claimed until they are."
                )
            first_steps = FirstSteps(self._shop, len(run_ids))
            runs = self._shop.claims.take(self._shop.lease.worker_id, run_ids, first_steps.add)
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
        if self._runs:
            for task in self._runs:
                task.cancel()
            log.info("runs_interrupted", runs=len(self._runs))
            await asyncio.wait(self._runs, timeout=GIVE_BACK_SECONDS)

    def drop_all(self) -> None:
        """Let go of every run without another word: the lease is lost, and they are somebody else's."""
        for task, run in self._runs.items():
            _drop(task, run)

    def held(self) -> dict[str, int]:
        """Return the runs that this process believes to hold, with their epochs."""
        with self._claiming:
            return dict(self._held)

    def deliver(self, ended_waits: Mapping[str, Sequence[EndedWait]]) -> None:
        """Tell runs in flight which of their waits have ended. Called on the loop."""
        for run_id, ended in ended_waits.items():
            inbox = self._inboxes.get(run_id)
            if inbox is not None:
                inbox.put(ended)

    def drop(self, gone: Mapping[str, int]) -> None:
        """Let go of runs, by id and epoch, that somebody has taken from us: their attempts are interrupted."""
        for task, run in self._runs.items():
            if gone.get(run.id) == run.epoch and not (task.done() or run.leaving or run.dropped):
                log.warning("run_taken_over", run_id=run.id, epoch=run.epoch)
                _drop(task, run)

    def _adopt(self, runs: Sequence[tuple[ActiveRun, str]]) -> None:
        for run, lane in runs:
            self._inboxes[run.id] = Inbox(self._loop)
            task = self._loop.create_task(self._hold(run))
            self._runs[task] = run
            task.add_done_callback(partial(self._let_go, lane))

    def _let_go(self, lane: str, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        if self._held.get(run.id) == run.epoch:  # else it was claimed again before we let go
            del self._held[run.id]
            self._inboxes.pop(run.id, None)
        self._shop.slots.release(lane)
        if not task.cancelled() and task.exception() is not None:
            log.error("run_let_go", exc_info=task.exception())

    async def _hold(self, run: ActiveRun) -> None:
        hand = _Hand()
        try:
            await self._drive(run, hand)
        except asyncio.CancelledError:
            if not run.dropped:
                await self._give_back(run, hand)
        except Exception as error:
            log.exception("run_broken", run_id=run.id)
            await self._shop.journal.write(run.broken(error, self._shop.clock.now()))

    async def _give_back(self, run: ActiveRun, hand: _Hand) -> None:
        """Let go of a run in the middle of its attempts; what has ended is written, if it may not have been."""
        checkpoint = hand.unwritten
        if checkpoint is not None:
            checkpoint = await self._stow(run, hand, checkpoint, checkpoint.artifacts)
            if await self._write(run, hand, checkpoint):
                return
        if hand.came and await self._write(run, hand, await self._settle(run, hand)):
            return
        now = self._shop.clock.now()
        await self._shop.journal.write(run.interrupted(now, self._shop.catalogue.on_lost))

    async def _drive(self, run: ActiveRun, hand: _Hand) -> None:
        try:
            while True:
                await self._until_something_may_start()
                await self._start(run, hand)
                if not hand.came:
                    for task in await self._next(run, hand.tasks):
                        hand.came.append((hand.tasks.pop(task), task.result()))
                checkpoint = await self._settle(run, hand)
                if await self._write(run, hand, checkpoint):
                    return
        finally:
            await hand.interrupt()

    async def _write(self, run: ActiveRun, hand: _Hand, checkpoint: Checkpoint) -> bool:
        """Commit a checkpoint; returns whether the run is out of our hands by that."""
        run.leaving, hand.unwritten = checkpoint.leave is not None, checkpoint
        verdict = await self._shop.journal.write(checkpoint)
        hand.unwritten = None
        if verdict is Verdict.LOST:
            log.warning("run_taken_over", run_id=run.id, epoch=run.epoch)
        if verdict is Verdict.PAUSED:
            run.pause()
        return verdict is Verdict.LOST or run.leaving

    async def _start(self, run: ActiveRun, hand: _Hand) -> None:
        """Begin the attempts that are to start; those that are over at once have come."""
        for state in run.started:
            await self._until_something_may_start()
            held = self._shop.gate.of_step(run.facts, run.board.step(state.path))
            if held is not None:  # since it was decided that the step starts
                hand.came.append((state, Ended(Withheld(held))))
                continue
            if not is_short(self._shop, run, state):
                hand.tasks[asyncio.create_task(carry_out(self._shop, run, state))] = state
                continue
            if hand.came:
                await asyncio.sleep(0)  # other runs have their turn in between
            hand.came.append((state, await carry_out(self._shop, run, state)))

    async def _next(
        self, run: ActiveRun, tasks: Mapping[asyncio.Task[Ended], StepState]
    ) -> list[asyncio.Task[Ended]]:
        """Wait until an attempt or a wait has ended, or a next attempt is due; returns the attempts that have ended."""
        if run.paused and not tasks:
            return []
        news = self._inboxes[run.id].news
        awaited: list[asyncio.Future[Any]] = [*tasks, news] if run.suspended else [*tasks]
        done, _ = await asyncio.wait(
            awaited,
            timeout=run.seconds_to_next_wait(self._shop.clock.now()),
            return_when=asyncio.FIRST_COMPLETED,
        )
        return [task for task in tasks if task in done]

    async def _settle(self, run: ActiveRun, hand: _Hand) -> Checkpoint:
        waits, now = self._inboxes[run.id].take(), self._shop.clock.now()
        ended, hand.came = hand.came, []
        checkpoint = settle_attempts(run, ended, waits, now, draining=self._draining)
        attempted = {state.path: came.artifact for state, came in ended}
        return await self._stow(run, hand, checkpoint, attempted)

    async def _stow(
        self,
        run: ActiveRun,
        hand: _Hand,
        checkpoint: Checkpoint,
        attempted: Mapping[str, Artifact | None],
    ) -> Checkpoint:
        """Return the checkpoint without large outputs: those of attempts are stored already, the others are now."""
        stored = {path: artifact for path, artifact in attempted.items() if artifact is not None}
        if stored:
            checkpoint = replace(checkpoint, artifacts=stored)
        hand.unwritten = checkpoint
        found = oversized(checkpoint, attempted)
        if not found:
            return checkpoint
        try:
            return await asyncio.to_thread(self._shop.outputs.stow, checkpoint, found)
        except NotKept as fault:
            return run.not_kept(checkpoint, fault, self._shop.clock.now())

    async def _until_something_may_start(self) -> None:
        """Start nothing while the lease could not be renewed, nor while nobody knows which kill switches are set.

        Once the lease is lost for good, `drop_all` ends this wait.
        """
        while not (self._shop.lease.valid() and self._shop.gate.open()):  # noqa: ASYNC110 - other threads see to it
            await asyncio.sleep(LEASE_POLL_SECONDS)


def _drop(task: asyncio.Task[None], run: ActiveRun) -> None:
    """Interrupt a run that is not ours any more: once, for a second time would cut short how its attempts are ended."""
    if not run.dropped:
        run.dropped = True
        task.cancel()
