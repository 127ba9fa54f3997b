"""What is recorded of a run: one state per step instance, told from its attempts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.core.statuses import AttemptStatus, WaitKind

WORKER_LOST = "worker_lost"
POLICY = "policy"
"""In what is shown of a wait: a policy asks whether the step may be carried out, and this is what is granted."""
GOING_ON = frozenset({AttemptStatus.RUNNING, AttemptStatus.WAITING})
ENDED_IN_FAILURE = frozenset({AttemptStatus.FAILED, AttemptStatus.TIMED_OUT, AttemptStatus.LOST})


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a suspended step waits for: `kind`, until when at most, and what is shown of it in `waiting_for`."""

    kind: WaitKind
    until: datetime | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, Any]:
        """Return it as JSON."""
        until = {} if self.until is None else {"until": rfc3339(self.until)}
        return {"kind": self.kind.value, **until, **self.shown}


def read_wait(stored: Mapping[str, Any] | None) -> Waiting | None:
    """Return what was stored."""
    if stored is None:
        return None
    until = stored.get("until")
    shown = {name: value for name, value in stored.items() if name not in {"kind", "until"}}
    return Waiting(WaitKind(stored["kind"]), until and datetime.fromisoformat(until), shown)


@dataclass(frozen=True, slots=True)
class StepState:
    """The latest attempt at a step, and how many went wrong before.

    `retry_at` is when the next attempt is due; a failed attempt without it has failed the step. `output` holds the JSON
    value; `wait` what it waits for, or has waited for; `failures` counts attempts of the retry policy, `lost` those whose
    worker died.
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
    wait: Waiting | None = None
    granted: tuple[str, ...] = ()
    """What people have approved, because policies asked for it before the step."""

    @property
    def settled(self) -> bool:
        """Tell whether nothing more will happen to this step."""
        return self.status not in GOING_ON and self.retry_at is None

    def lost_at(self, now: datetime) -> bool:
        """Tell whether its worker was found dead at this time."""
        return self.status is AttemptStatus.LOST and self.finished_at == now

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
    """Return a state with its counts of failures and losses, and what was granted, brought forward."""
    failures, lost = (before.failures, before.lost) if before is not None else (0, 0)
    granted = before.granted if before is not None else ()
    if state.status is AttemptStatus.SKIPPED and state.wait is not None:
        granted = (*granted, state.wait.shown.get(POLICY, ""))
    if state.status is AttemptStatus.LOST:
        lost += int((state.error or {}).get("code") == WORKER_LOST)
    elif state.status in ENDED_IN_FAILURE:
        failures += 1
    return replace(state, failures=failures, lost=lost, granted=granted)


def finish_order(state: StepState) -> tuple[float, int]:
    """Return what tells which of two steps ended first: by time, and by number if that is the same."""
    return (state.finished_at.timestamp() if state.finished_at else 0.0, state.seq)


def rfc3339(time: datetime) -> str:
    """Return a time as the API and expressions show it."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return f"{time.isoformat(timespec='milliseconds')[:-6]}Z"
