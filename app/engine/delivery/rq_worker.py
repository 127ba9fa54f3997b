"""An RQ worker in a thread: takes hints off the queue and passes their run ids on."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from app.core.clock import Clock, SystemClock
from app.core.logging import get_logger
from app.engine.delivery.hints import QUEUE, HintJob

DEQUEUE_SECONDS = 2.0
HEARTBEAT_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 2.0
log = get_logger(__name__)


class _NoDeathPenalty(BaseDeathPenalty):
    """Hints block while the process is at its limit, for as long as that takes; signals belong to the main thread."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class _HintWorker(SimpleWorker):
    """RQ's in-process worker, made to run in a thread: no signals, and a look at its stop flag between two blocks."""

    death_penalty_class = _NoDeathPenalty
    log_result_lifespan = False
    clock: Clock = SystemClock()
    _next_heartbeat = 0.0

    def _install_signal_handlers(self) -> None:
        """Leave signals to the main thread."""

    def subscribe(self) -> None:
        """Take no commands from Redis: nobody gives any, and the thread that listens would hold up each stop by a second."""

    def request_stop_soon(self) -> None:
        """Stop after the current hint."""
        self._stop_requested = True

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Pass a hint on and forget it, whatever became of it: what it tells stands in the database.

        RQ's own way keeps records of jobs begun, done and failed: a dozen round trips for what nobody reads.
        """
        try:
            job.perform()
        except Exception as error:  # noqa: BLE001 - garbage in the queue, or nothing may be claimed right now: the sweep finds the runs
            log.warning("hint_failed", error=f"{type(error).__name__}: {error}")
        with self.connection.pipeline() as pipeline:
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.delete(job.key)
            pipeline.execute()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Return the next hint. RQ's own loop would look neither at its stop flag nor give up on a dead Redis."""
        del timeout, max_idle_time
        while not self._stop_requested:
            self._heartbeat_seldom()
            try:
                found = self.queue_class.dequeue_any(
                    self.queues,
                    DEQUEUE_SECONDS,  # type: ignore[arg-type]  # Redis takes fractions of a second since 6.0
                    connection=self.connection,
                    job_class=self.job_class,
                    serializer=self.serializer,
                    death_penalty_class=self.death_penalty_class,
                )
            except DequeueTimeout:
                continue
            except RedisError as error:
                log.warning("redis_does_not_answer", error=str(error))
                break
            if found is not None:
                found[0].redis_server_version = self.get_redis_server_version()  # type: ignore[no-untyped-call]  # RQ's own
                return found
        raise StopRequested

    def _heartbeat_seldom(self) -> None:
        now = self.clock.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            self.heartbeat()


class HintConsumer:
    """Runs an RQ worker in a thread, and a new one whenever Redis took the last one down."""

    def __init__(
        self, redis: Redis, wakers_redis: Redis, advance: Callable[[Sequence[str]], int]
    ) -> None:
        self._redis = redis
        self._wakers_redis = wakers_redis
        self._client_id: int | None = None
        self._job_class: type[Any] = type(
            "BoundHintJob", (HintJob,), {"advance": staticmethod(advance)}
        )
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

    def _work(self) -> None:
        queue = Queue(
            QUEUE, connection=self._redis, serializer=JSONSerializer, job_class=self._job_class
        )
        self._worker = _HintWorker(
            [queue], connection=self._redis, serializer=JSONSerializer, job_class=self._job_class
        )
        self._client_id = self._redis.client_id()  # the thread's only connection
        if not self._stopping.is_set():
            self._worker.work(logging_level="WARNING")
