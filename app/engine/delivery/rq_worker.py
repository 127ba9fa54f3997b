"""An RQ worker in a thread: takes hints off the queues, lane after lane, and passes them on."""

import threading
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from app.core.clock import Clock, SystemClock
from app.core.logging import get_logger
from app.engine.delivery.hints import HintJob, HintQueue, open_queues, register_queues
from app.engine.delivery.lanes import MIXED, Turns
from app.engine.delivery.taking import Taker

DEQUEUE_SECONDS = 2.0
PEEK_SECONDS = 0.001
STAND_BACK_SECONDS = 0.002
"""After a hint that was waited for: what its runs do first then has the interpreter and the cores to itself, which asking
for the next hint takes from it (measured: 3 to 7 % of the time from a webhook to its effect)."""
HEARTBEAT_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 2.0
log = get_logger(__name__)


class _NoDeathPenalty(BaseDeathPenalty):
    """A hint blocks while the database is away, for as long as that takes; signals belong to the main thread."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class _HintWorker(SimpleWorker):
    """RQ's in-process worker, made to run in a thread: no signals, and a look at its stop flag between two blocks.

    RQ knows it as a worker of one queue; the lanes' queues need none of the housekeeping that RQ does for each of its own.
    """

    taker: Taker
    turns: Turns
    lanes: Mapping[str, Queue]
    stopping: threading.Event
    queue_class = HintQueue
    death_penalty_class = _NoDeathPenalty
    log_result_lifespan = False
    clock: Clock = SystemClock()
    _waited_seconds = 0.0
    _next_heartbeat = 0.0
    _next_look = 0.0

    def _install_signal_handlers(self) -> None:
        """Leave signals to the main thread."""

    def subscribe(self) -> None:
        """Take no commands from Redis: nobody gives any, and the thread that listens would hold up each stop by a second."""

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Show that the worker lives; seldom, where RQ does it after each hint."""
        now = self.clock.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            super().heartbeat(timeout, pipeline)

    def check_for_suspension(self, burst: bool) -> None:
        """Look whether `rq suspend` was given; seldom, where RQ does it before each hint."""
        now = self.clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + HEARTBEAT_SECONDS
            super().check_for_suspension(burst)

    def request_stop_soon(self) -> None:
        """Stop after the current hint."""
        self._stop_requested = True

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Pass a hint on, and stand back a moment unless there is much to do."""
        try:
            self.taker.take(queue.name, cast("HintJob", job).hint)
        except Exception as error:  # noqa: BLE001 - garbage in the queue, or nothing may be claimed right now: the sweep finds the runs
            log.warning("hint_failed", error=f"{type(error).__name__}: {error}")
        if self._waited_seconds >= STAND_BACK_SECONDS:
            self.stopping.wait(STAND_BACK_SECONDS)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Return the next hint. RQ's own loop would look neither at its stop flag nor give up on a dead Redis."""
        del timeout, max_idle_time
        while not self._stop_requested:
            self.heartbeat()
            held_up = self.taker.go_on()
            try:
                found = self._dequeue(held_up)
            except RedisError as error:
                log.warning("redis_does_not_answer", error=str(error))
                break
            if found is not None:
                return found
            if held_up:
                self.taker.watch(held_up)
        raise StopRequested

    def _dequeue(self, held_up: Set[str]) -> tuple[Job, Queue] | None:
        """Return a hint of the first queue in turn that has one; waits for it only while no queue is held up."""
        queues = [self.lanes[name] for name in self.turns.order() if name not in held_up]
        if not queues:
            return None
        began = self.clock.monotonic()
        try:
            found = self.queue_class.dequeue_any(
                queues,
                PEEK_SECONDS if held_up else DEQUEUE_SECONDS,  # type: ignore[arg-type]  # Redis takes fractions of a second since 6.0
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return None
        self._waited_seconds = self.clock.monotonic() - began
        if found is not None:
            self.turns.taken(found[1].name)
        return found


class HintConsumer:
    """Runs an RQ worker in a thread, and a new one whenever Redis took the last one down."""

    def __init__(self, redis: Redis, wakers_redis: Redis, taker: Taker) -> None:
        self._redis = redis
        self._wakers_redis = wakers_redis
        self._client_id: int | None = None
        self._taker = taker
        self._turns = Turns()
        self._queues = open_queues(redis)
        self._stopping = threading.Event()
        self._worker: _HintWorker | None = None
        self._thread = threading.Thread(target=self._consume, name="rq", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Take no more hints after the current one; returns at once."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.request_stop_soon()

    def join(self, timeout_seconds: float = DEQUEUE_SECONDS + 2.0) -> None:
        """Wait for the end of the thread, which need not sit out its wait for a hint."""
        if self._client_id is not None:
            with suppress(RedisError):
                self._wakers_redis.client_unblock(self._client_id)
        self._thread.join(timeout_seconds)

    def _consume(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                self._work()
                pause = FIRST_PAUSE_SECONDS
            except RedisError as error:
                log.warning("redis_does_not_answer", error=str(error), retry_in_seconds=pause)
            except Exception:
                log.exception("rq_worker_failed")
            self._stopping.wait(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        self._taker.put_back()

    def _work(self) -> None:
        self._taker.go_on()  # also while Redis is away
        self._worker = _HintWorker(
            [self._queues[MIXED]],
            connection=self._redis,
            serializer=JSONSerializer,
            job_class=HintJob,
        )
        self._worker.taker, self._worker.turns = self._taker, self._turns
        self._worker.lanes, self._worker.stopping = self._queues, self._stopping
        register_queues(self._redis)
        self._client_id = self._redis.client_id()  # the thread's only connection
        if not self._stopping.is_set():
            self._worker.work(logging_level="WARNING")
