"""What travels through Redis: the name of our one job function and run ids by lane, as JSON. Never a pickle, never a callback."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from app.core.ids import new_id, parse_id
from app.engine.delivery.lanes import LANES, QUEUES, Hint

ADVANCE_RUNS = "app.engine.delivery.hints.advance_runs"
MAX_RUNS_PER_HINT = 200


class HintJob(Job):
    """A job that can only be a hint: it is read once and never executed, whatever function or callback it names."""

    success_callback = failure_callback = stopped_callback = None

    def refresh(self) -> None:
        """Read what it tells and forget it in one round trip: the truth about runs stands in the database.

        RQ's own way keeps records of jobs begun, done and failed: a dozen round trips for what nobody reads.

        Raises:
            NoSuchJobError: somebody else has read it.
        """
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hget(self.key, "data")
            pipeline.delete(self.key)
            data, _ = pipeline.execute()
        if data is None:
            raise NoSuchJobError(f"There is no hint {self.id}.")
        self.data = data

    @property
    def func(self) -> Callable[..., Any]:
        """Refuse to be executed.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("a hint is read, not executed")

    @property
    def hint(self) -> Hint:
        """Return the runs that it tells of.

        Raises:
            ValueError: the job is no hint of ours.
        """
        if self.func_name != ADVANCE_RUNS or self.instance is not None or len(self.args) != 1:
            raise ValueError("this job is no hint of ours")
        told = self.args[0]
        if not isinstance(told, dict) or not all(
            lane in LANES and isinstance(run_ids, list) for lane, run_ids in told.items()
        ):
            raise ValueError("a hint holds lists of run ids by lane")
        if sum(map(len, told.values())) > MAX_RUNS_PER_HINT:
            raise ValueError(f"a hint holds {MAX_RUNS_PER_HINT} runs at most")
        return {lane: _ids(run_ids) for lane, run_ids in told.items()}


class HintQueue(Queue):
    """A queue of hints: jobs as RQ keeps them, without what RQ does for jobs that are more than a hint."""

    def push_hint(self, hint: Hint, pipeline: Pipeline) -> None:
        """Put a hint on the queue, with the pipeline's next execution."""
        job_id = new_id()
        record: dict[Any, Any] = {
            "data": JSONSerializer.dumps((ADVANCE_RUNS, None, (hint,), {})),
            "created_at": utcformat(now()),
            "origin": self.name,
            "description": "advance runs",
            "status": JobStatus.QUEUED.value,
        }
        pipeline.hset(HintJob.key_for(job_id), mapping=record)
        pipeline.rpush(self.key, job_id)

    @classmethod
    def lpop(
        cls, queue_keys: Sequence[str], timeout: float | None, connection: Redis | None = None
    ) -> tuple[bytes, bytes]:
        """Wait for the first job in one of the queues; RQ's own way also writes each time what it waits for.

        Raises:
            DequeueTimeout: none has come.
        """
        found = None if connection is None else connection.blpop(queue_keys, timeout)
        if found is None:
            raise DequeueTimeout(timeout, queue_keys)
        return cast("tuple[bytes, bytes]", found)

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: float | None) -> tuple[bytes, bytes]:
        """Wait for the first job of one queue as of many: RQ's way would keep it in a list of those that are being worked on.

        Raises:
            DequeueTimeout: none has come.
        """
        return cls.lpop([queue_key], timeout, connection)


def register_queues(redis: Redis) -> None:
    """Let RQ's own tools know of all queues."""
    redis.sadd(
        Queue.redis_queues_keys, *(Queue.redis_queue_namespace_prefix + name for name in QUEUES)
    )


def open_queues(redis: Redis) -> dict[str, HintQueue]:
    """Return all queues by name."""
    return {
        name: HintQueue(name, connection=redis, serializer=JSONSerializer, job_class=HintJob)
        for name in QUEUES
    }


def _ids(run_ids: list[object]) -> list[str]:
    ids = [parse_id(run_id) if isinstance(run_id, str) else None for run_id in run_ids]
    return [run_id for run_id in ids if run_id is not None]
