"""Put run ids on the queue: a hint. It may be lost or doubled without harm; the database has the truth."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from sqlalchemy import Engine

from app.core.logging import get_logger
from app.engine.delivery.hints import (
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

    @property
    def is_down(self) -> bool:
        """Tell whether Redis did not answer the last time."""
        return self._down

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
            # A job stands before its id is in the queue, so they need not appear in one moment.
            with self._redis.pipeline(transaction=False) as pipeline:
                for queue, hint in hints:
                    self._queues[queue].push_hint(hint, pipeline)
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
    """Dispatches what is committed without making anybody wait: one hint for all that gathered meanwhile.

    In a thread of its own, so that a hint is on its way before the event loop hears of the commit.
    """

    def __init__(
        self, dispatcher: Dispatcher, observe: Callable[[int], None] | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._observe = observe
        self._pending: SimpleQueue[tuple[str, str | None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="dispatch", daemon=True)
        self._thread.start()

    def put_alone(self, run_id: str, owner_id: str | None) -> None:
        """Dispatch a run before this returns, in the caller's thread: sooner than in ours when nobody else has any.

        While Redis does not answer nobody waits for it: then it is added as any other.
        """
        if self._dispatcher.is_down or not self._pending.empty():
            self.put(run_id, owner_id)
        else:
            self._dispatch({run_id: owner_id})

    def put(self, run_id: str, owner_id: str | None = None) -> None:
        """Add a run, from any thread; its owner is looked up unless told."""
        self._pending.put((run_id, owner_id))

    async def close(self) -> None:
        """Dispatch what is pending and stop."""
        self._pending.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while runs := self._gathered():
            self._dispatch(runs)

    def _dispatch(self, runs: Mapping[str, str | None]) -> None:
        if self._observe is not None:
            self._observe(len(runs))
        try:
            self._dispatcher.dispatch([*runs], {id_: owner for id_, owner in runs.items() if owner})
        except Exception:
            log.exception("not_dispatched", runs=len(runs))  # the sweep finds them

    def _gathered(self) -> dict[str, str | None]:
        """Wait for runs; returns all that are there, with their owners, and none once closed."""
        runs: dict[str, str | None] = {}
        item = self._pending.get()
        while item is not None:
            runs[item[0]] = item[1]
            if len(runs) == MAX_RUNS_PER_HINT or self._pending.empty():
                return runs
            item = self._pending.get()
        if runs:
            self._pending.put(None)  # for the next time
        return runs
