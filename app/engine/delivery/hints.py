"""What travels through Redis: the name of our one job function and run ids, as JSON. Never a pickle, never a callback."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rq.job import Job

from app.core.ids import parse_id

QUEUE = "runs"
ADVANCE_RUNS = "app.engine.delivery.hints.advance_runs"
MAX_RUNS_PER_HINT = 200
HINT_TTL_SECONDS = 3600


class HintJob(Job):
    """A job that can only be a hint: any other function, and every callback, is refused."""

    advance: ClassVar[Callable[[Sequence[str]], int] | None] = None
    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Callable[..., Any]:
        """Return the one function that may run.

        Raises:
            ValueError: the job names another function.
        """
        if self.func_name != ADVANCE_RUNS or self.instance is not None:
            raise ValueError("this job is no hint of ours")
        return self._advance

    def _advance(self, run_ids: object) -> int:
        if not isinstance(run_ids, list) or len(run_ids) > MAX_RUNS_PER_HINT:
            raise ValueError("a hint holds a list of run ids")
        ids = [parse_id(run_id) if isinstance(run_id, str) else None for run_id in run_ids]
        advance = type(self).advance
        if advance is None:
            raise RuntimeError("hints are executed by a worker only")
        return advance([run_id for run_id in ids if run_id is not None])
