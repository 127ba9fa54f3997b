"""What is measured, by whom, under which name. No label grows with users, workflows or runs."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Row

from app.core.statuses import FINAL_RUN_STATUSES, AttemptStatus, RunStatus, TriggerKind
from app.engine.checkpoint import Checkpoint
from app.engine.metrics.collectors import BATCH_SIZES, Distribution, Tally
from app.engine.planning.record import GOING_ON, StepState

PREFIX: Final = "automateos_"
OTHER: Final = "other"
"""Stands for node types that this process does not have, so that their names cannot grow a label."""
TRIGGER_KINDS: Final = (TriggerKind.WEBHOOK, TriggerKind.MANUAL)
# As plain text: an enum's own hash and `value` run Python code, thousands of times a second.
_UNTRIED: Final = frozenset(map(str, GOING_ON | {AttemptStatus.SKIPPED}))
_LOST: Final = str(AttemptStatus.LOST)
_FINAL: Final = frozenset(map(str, FINAL_RUN_STATUSES))
ObserveBatch = Callable[[int], None]


class _Meters:
    """What every process measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._batches = self._register(
            Distribution(
                f"{PREFIX}group_commit_batch_size",
                "Items that were written in one group commit.",
                "commit",
                BATCH_SIZES,
            )
        )
        self._ended = self._register(
            Tally(
                f"{PREFIX}runs_ended",
                "Runs that have ended, by status; one that a person retries ends again.",
                ["status"],
            )
        )
        for status in FINAL_RUN_STATUSES:
            self._ended.add(status.value, count=0)

    def batches_of(self, commit: str) -> ObserveBatch:
        """Return what a group commit tells its batch sizes to."""
        return partial(self._batches.observe, label=commit)

    def cancelled(self, count: int) -> None:
        """Count runs that were cancelled, once that is committed."""
        self._ended.add(RunStatus.CANCELLED.value, count=count)

    def _register(self, collector: Any) -> Any:
        self.registry.register(collector)
        return collector


class ApiMeters(_Meters):
    """What an API process measures."""

    def __init__(self) -> None:
        super().__init__()
        self._accepted: Tally = self._register(
            Tally(
                f"{PREFIX}triggers_accepted",
                "Triggers that were answered with a run; `repeated` ones with the run of an earlier trigger.",
                ["trigger", "repeated"],
            )
        )
        self._refused: Tally = self._register(
            Tally(
                f"{PREFIX}triggers_refused",
                "Triggers that were refused, by the `code` of the answer.",
                ["trigger", "reason"],
            )
        )
        for kind in TRIGGER_KINDS:
            self._accepted.add(kind.value, "false", count=0)

    def triggers_accepted(self, answers: Iterable[tuple[TriggerKind, bool]]) -> None:
        """Count a committed batch of triggers: the kind of each, and whether it was a repeated one."""
        counts = Counter(answers)
        self._accepted.add_all(
            {(kind.value, str(again).lower()): n for (kind, again), n in counts.items()}
        )

    def trigger_refused(self, kind: TriggerKind, reason: str) -> None:
        """Count a refusal."""
        self._refused.add(kind.value, reason)


class WorkerMeters(_Meters):
    """What a worker process measures: `node_types` are those that get a label of their own."""

    def __init__(
        self, node_types: Collection[str], in_flight: Callable[[], int], limit: int
    ) -> None:
        super().__init__()
        self._node_types = frozenset(node_types)
        self._started: Tally = self._register(
            Tally(
                f"{PREFIX}runs_started", "Runs that were claimed for the first time.", ["trigger"]
            )
        )
        self._queued: Distribution = self._register(
            Distribution(
                f"{PREFIX}queue_seconds",
                "From the acceptance of a run to its first claim.",
                "trigger",
            )
        )
        self._attempts: Tally = self._register(
            Tally(
                f"{PREFIX}attempts_ended", "Attempts at steps that have ended.", ["type", "status"]
            )
        )
        self._durations: Distribution = self._register(
            Distribution(
                f"{PREFIX}attempt_seconds",
                "How long attempts at steps took; without those that waited, or were lost.",
                "type",
            )
        )
        self._duties: Tally = self._register(
            Tally(
                f"{PREFIX}duty_done",
                "What the background duties have done, such as workers and runs by the reaper.",
                ["duty", "what"],
            )
        )
        self._register(_InFlight(in_flight, limit))

    def claimed(self, rows: Sequence[Row[Any]], begun: Iterable[Checkpoint]) -> None:
        """Take in a committed claim: the rows of its runs, and their first checkpoints."""
        kinds = []
        for row in rows:
            if row.epoch == 1:
                kind = str(row.trigger_kind)
                kinds.append(kind)
                seconds = (row.started_at - row.created_at).total_seconds()
                self._queued.observe(seconds if seconds > 0 else 0.0, kind)
        self._started.add_all({(kind,): count for kind, count in Counter(kinds).items()})
        checkpoints = tuple(begun)
        # A later claim finds attempts that were lost, and waits that have ended.
        self._take_attempts(
            state
            for item in checkpoints
            for state in (item.states if item.epoch > 1 else item.ended)
        )
        self._take_ends(checkpoints)

    def written(self, kept: Sequence[Checkpoint], paused: Sequence[Checkpoint]) -> None:
        """Take in committed checkpoints; those of runs that were `paused` meanwhile end nothing but attempts."""
        self._take_attempts(state for item in (*kept, *paused) for state in item.ended)
        self._take_ends(kept)

    def duty_done(self, duty: str, counts: Mapping[str, int]) -> None:
        """Count what a round of a duty has done."""
        self._duties.add_all({(duty, what): count for what, count in counts.items()})

    def _take_ends(self, checkpoints: Iterable[Checkpoint]) -> None:
        left = Counter(
            [str(item.leave["status"]) for item in checkpoints if item.leave is not None]
        )
        self._ended.add_all(
            {(status,): count for status, count in left.items() if status in _FINAL}
        )

    def _take_attempts(self, states: Iterable[StepState]) -> None:
        ended = []
        for state in states:
            status = str(state.status)
            if status in _UNTRIED:
                continue
            label = state.type if state.type in self._node_types else OTHER
            ended.append((label, status))
            if status != _LOST and state.wait is None and state.started_at and state.finished_at:
                seconds = (state.finished_at - state.started_at).total_seconds()
                self._durations.observe(seconds, label)
        self._attempts.add_all(Counter(ended))


class _InFlight:
    """The runs in a worker's hands, and how many there may be."""

    def __init__(self, in_flight: Callable[[], int], limit: int) -> None:
        self._in_flight, self._limit = in_flight, limit

    def collect(self) -> Iterable[Metric]:
        """Yield both, for a registry."""
        yield GaugeMetricFamily(
            f"{PREFIX}runs_in_flight", "Runs that this worker holds.", self._in_flight()
        )
        yield GaugeMetricFamily(
            f"{PREFIX}runs_in_flight_limit", "RUNS_PER_WORKER of this worker.", self._limit
        )
