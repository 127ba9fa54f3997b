"""Put run ids on the queue: a hint. It may be lost or doubled without harm; the database has the truth."""

import asyncio
from collections.abc import Callable, Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from app.core.logging import get_logger
from app.db.group_commit import GroupCommit
from app.engine.delivery.hints import (
    ADVANCE_RUNS,
    HINT_TTL_SECONDS,
    MAX_RUNS_PER_HINT,
    QUEUE,
    HintJob,
)

TIMEOUT_SECONDS = 2.0
log = get_logger(__name__)


def connect_redis(url: str, timeout_seconds: float | None = TIMEOUT_SECONDS) -> Redis:
    """Return a connection pool for REDIS_URL; connects at the first use, and does not wait long."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=15,
    )


class Dispatcher:
    """Puts hints on the queue, from any thread."""

    def __init__(self, redis: Redis) -> None:
        self._queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=HintJob)
        self._down = False

    def dispatch(self, run_ids: Sequence[str]) -> bool:
        """Put runs on the queue; returns False when Redis does not answer (the sweep will find them)."""
        try:
            for start in range(0, len(run_ids), MAX_RUNS_PER_HINT):
                self._queue.enqueue_call(
                    ADVANCE_RUNS,
                    args=(list(run_ids[start : start + MAX_RUNS_PER_HINT]),),
                    timeout=-1,
                    result_ttl=0,
                    failure_ttl=HINT_TTL_SECONDS,
                    description="advance runs",
                )
        except RedisError as error:
            if not self._down:
                log.warning("redis_does_not_answer", error=str(error))
            self._down = True
            return False
        if self._down:
            log.info("redis_answers_again")
        self._down = False
        return True

    def backlog(self) -> int:
        """Return how many hints wait in the queue; 0 when Redis does not answer."""
        try:
            return int(self._queue.count)
        except RedisError:
            return 0


class BackgroundDispatch:
    """Dispatches what intake has committed without making anybody wait: one hint for all that gathered meanwhile."""

    def __init__(
        self, dispatcher: Dispatcher, observe: Callable[[int], None] | None = None
    ) -> None:
        self._batches: GroupCommit[str, bool] = GroupCommit(
            lambda run_ids: [dispatcher.dispatch(run_ids)] * len(run_ids),
            name="dispatch",
            max_batch=MAX_RUNS_PER_HINT,
            observe=observe,
        )

    def put(self, run_id: str) -> asyncio.Future[bool]:
        """Add a run from the event loop."""
        return self._batches.put(run_id)

    async def close(self) -> None:
        """Dispatch what is pending and stop."""
        await self._batches.close()
