"""Put run ids on the queue: a hint. It may be lost or doubled without harm; the database has the truth."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from sqlalchemy import Engine

from app.core.logging import get_logger
from app.db.group_commit import GroupCommit
from app.engine.delivery.hints import (
    ADVANCE_RUNS,
    HINT_TTL_SECONDS,
    MAX_RUNS_PER_HINT,
    open_queues,
)
from app.engine.delivery.lanes import MIXED, QUEUES, Hint, by_lane, owners_of

TIMEOUT_SECONDS = 2.0
FEW_RUNS = 8
"""Lanes with fewer runs than this share a hint: each hint costs its way through Redis, and a claim."""
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
    """Puts hints on the queues, from any thread. Without an engine, runs whose owners are not told share a lane."""

    def __init__(self, redis: Redis, engine: Engine | None = None) -> None:
        self._redis = redis
        self._engine = engine
        self._queues = open_queues(redis)
        self._down = False

    def dispatch(self, run_ids: Sequence[str], owners: Mapping[str, str] | None = None) -> bool:
        """Put runs on the queues; returns False when Redis does not answer (the sweep will find them)."""
        return self.put(self.sort(run_ids, owners))

    def sort(self, run_ids: Sequence[str], owners: Mapping[str, str] | None = None) -> Hint:
        """Return runs by lane; owners that are not told are looked up."""
        known = owners or {}
        unknown = [run_id for run_id in run_ids if run_id not in known]
        if unknown and self._engine is not None:
            known = {**known, **owners_of(self._engine, unknown)}
        return by_lane(run_ids, known)

    def put(self, runs: Hint) -> bool:
        """Put runs on the queues; returns False when Redis does not answer (the sweep will find them)."""
        return self._enqueue(_parcels(runs))

    def put_back(self, runs: Hint) -> bool:
        """Put runs that a worker has no room for on the queues of their lanes; returns False as `put` does."""
        return self._enqueue((lane, {lane: ids}) for lane, ids in runs.items())

    def backlog(self) -> int:
        """Return how many hints wait in all queues; 0 when Redis does not answer."""
        try:
            return count_hints(self._redis)
        except RedisError:
            return 0

    def _enqueue(self, hints: Iterable[tuple[str, Hint]]) -> bool:
        try:
            with self._redis.pipeline() as pipeline:
                for queue, hint in hints:
                    self._queues[queue].enqueue_call(
                        ADVANCE_RUNS,
                        args=(hint,),
                        timeout=-1,
                        result_ttl=0,
                        failure_ttl=HINT_TTL_SECONDS,
                        description="advance runs",
                        pipeline=pipeline,
                    )
                pipeline.execute()
        except RedisError as error:
            if not self._down:
                log.warning("redis_does_not_answer", error=str(error))
            self._down = True
            return False
        if self._down:
            log.info("redis_answers_again")
        self._down = False
        return True


def count_hints(redis: Redis) -> int:
    """Return how many hints wait in all queues.

    Raises:
        RedisError: Redis does not answer.
    """
    with redis.pipeline(transaction=False) as pipeline:
        for name in QUEUES:
            pipeline.llen(Queue.redis_queue_namespace_prefix + name)
        return sum(pipeline.execute())


def _parcels(runs: Hint) -> Iterator[tuple[str, Hint]]:
    """Yield hints, each with its queue: a lane with many runs has hints, and a queue, of its own; the few of others share."""
    many = {lane: ids for lane, ids in runs.items() if len(runs) == 1 or len(ids) >= FEW_RUNS}
    for lane, run_ids in many.items():
        for start in range(0, len(run_ids), MAX_RUNS_PER_HINT):
            yield lane, {lane: run_ids[start : start + MAX_RUNS_PER_HINT]}
    few = [(lane, ids) for lane, ids in runs.items() if lane not in many]
    lanes_per_hint = MAX_RUNS_PER_HINT // FEW_RUNS
    for start in range(0, len(few), lanes_per_hint):
        yield MIXED, dict(few[start : start + lanes_per_hint])


class BackgroundDispatch:
    """Dispatches what intake has committed without making anybody wait: one hint for all that gathered meanwhile."""

    def __init__(
        self, dispatcher: Dispatcher, observe: Callable[[int], None] | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._batches: GroupCommit[tuple[str, str | None], bool] = GroupCommit(
            self._flush,
            name="dispatch",
            max_batch=MAX_RUNS_PER_HINT,
            observe=observe,
        )

    def put(self, run_id: str, owner_id: str | None = None) -> asyncio.Future[bool]:
        """Add a run from the event loop; its owner is looked up unless told."""
        return self._batches.put((run_id, owner_id))

    async def close(self) -> None:
        """Dispatch what is pending and stop."""
        await self._batches.close()

    def _flush(self, runs: Sequence[tuple[str, str | None]]) -> Sequence[bool]:
        owners = {run_id: owner_id for run_id, owner_id in runs if owner_id is not None}
        dispatched = self._dispatcher.dispatch([run_id for run_id, _ in runs], owners)
        return [dispatched] * len(runs)
