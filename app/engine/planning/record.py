"""What is recorded of a run: one state per step instance, told from its attempts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.core.statuses import AttemptStatus

WORKER_LOST = "worker_lost"
ENDED_IN_FAILURE = frozenset({AttemptStatus.FAILED, AttemptStatus.TIMED_OUT, AttemptStatus.LOST})


@dataclass(frozen=True, slots=True)
class StepState:
    """The latest attempt at a step, and how many went wrong before.

    `retry_at` is when the next attempt is due; a failed attempt without it has failed the step. `output` holds the JSON
    value; `failures` counts attempts of the retry policy, `lost` those whose worker died.
    """

    path: str
    type: str
    status: AttemptStatus
    attempt: int
    seq: int
    port: str | None = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failures: int = 0
    lost: int = 0

    @property
    def settled(self) -> bool:
        """Tell whether nothing more will happen to this step."""
        return self.status is not AttemptStatus.RUNNING and self.retry_at is None

    @property
    def failed(self) -> bool:
        """Tell whether the step has failed for good."""
        return self.status in ENDED_IN_FAILURE and self.retry_at is None


Record = Mapping[str, StepState]


def latest(attempts: Iterable[StepState]) -> dict[str, StepState]:
    """Return the record of attempts: the last one of each path, with the counts of those before (any order)."""
    record: dict[str, StepState] = {}
    for state in sorted(attempts, key=lambda state: (state.path, state.attempt)):
        before = record.get(state.path)
        record[state.path] = counted(state, before)
    return record


def counted(state: StepState, before: StepState | None) -> StepState:
    """Return a state with its counts of failures and losses brought forward."""
    failures, lost = (before.failures, before.lost) if before is not None else (0, 0)
    if state.status is AttemptStatus.LOST:
        lost += int((state.error or {}).get("code") == WORKER_LOST)
    elif state.status in ENDED_IN_FAILURE:
        failures += 1
    return StepState(
        state.path,
        state.type,
        state.status,
        state.attempt,
        state.seq,
        state.port,
        state.output,
        state.error,
        state.retry_at,
        state.started_at,
        state.finished_at,
        failures,
        lost,
    )


def rfc3339(time: datetime) -> str:
    """Return a time as the API and expressions show it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
