"""What travels through Redis: the name of our one job function and run ids by lane, as JSON. Never a pickle, never a callback."""

from collections.abc import Callable
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from app.core.ids import parse_id
from app.engine.delivery.lanes import LANES, QUEUES, Hint

ADVANCE_RUNS = "app.engine.delivery.hints.advance_runs"
MAX_RUNS_PER_HINT = 200
HINT_TTL_SECONDS = 3600


class HintJob(Job):
    """A job that can only be a hint: it is read and never executed, whatever function or callback it names."""

    success_callback = failure_callback = stopped_callback = None

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


def open_queues(redis: Redis) -> dict[str, Queue]:
    """Return all queues by name."""
    return {
        name: Queue(name, connection=redis, serializer=JSONSerializer, job_class=HintJob)
        for name in QUEUES
    }


def _ids(run_ids: list[object]) -> list[str]:
    ids = [parse_id(run_id) if isinstance(run_id, str) else None for run_id in run_ids]
    return [run_id for run_id in ids if run_id is not None]
