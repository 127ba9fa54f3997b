"""How a step's state changes: begun, skipped, settled by an outcome, lost with its worker, cancelled with its run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from app.core.statuses import AttemptStatus
from app.engine.guards.held import Held
from app.engine.language.plan import RetryPolicy
from app.engine.planning.record import WORKER_LOST, StepState, Waiting

MAX_LOST_ATTEMPTS = 3
MAIN_PORT = "out"
SUSPECTS_APART_SECONDS = 10.0
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""The longest that a node, or the server it called, can put off the next attempt."""

Resolution = Mapping[str, Any]
"""How a wait has ended, as JSON: `{"output", "port", "output_bytes"?}`, or `{"error": {"code", "message", "data"?}, "again"?}`."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt's good end: its output (a JSON value, and its size) and the port whose edges are taken (None: none)."""

    output: Any
    port: str | None
    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt's bad end, as data. `again` says whether the step's retry policy may try once more."""

    code: str
    message: str
    again: bool = True
    after_seconds: float | None = None
    timed_out: bool = False
    data: Any = None

    @property
    def error(self) -> dict[str, Any]:
        """Return what is stored."""
        stored = {"code": self.code, "message": self.message}
        return stored if self.data is None else {**stored, "data": self.data}


@dataclass(frozen=True, slots=True)
class Suspended:
    """The node waits. Whatever ends the wait brings a resolution; at `wait.until` that is `on_due`.

    `data` is what the part of the engine that ends it needs.
    """

    wait: Waiting
    on_due: Resolution
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Withheld:
    """A guard has kept the attempt from doing anything: it is made again once the guard lets it, and counts for nothing."""

    held: Held


Outcome = Succeeded | Failed | Suspended
OnLost = Literal["retry", "fail", "ask"]
"""What becomes of a step whose attempt was cut off: its node type says whether the effect may be repeated. `ask`: the run
pauses, and a person decides by resuming it (the step is tried again) or cancelling it."""


def resolution_of(ended: Succeeded | Failed) -> dict[str, Any]:
    """Return the end of a wait as the JSON that `outcome_of` reads."""
    match ended:
        case Succeeded():
            return {"output": ended.output, "port": ended.port}
        case Failed():
            return {"error": ended.error, "again": ended.again}


def outcome_of(resolution: Resolution) -> Succeeded | Failed:
    """Return what becomes of a step whose wait has ended so."""
    error = resolution.get("error")
    if error is None:
        return Succeeded(
            resolution.get("output"),
            resolution.get("port", MAIN_PORT),
            resolution.get("output_bytes", 0),
        )
    return Failed(
        error["code"],
        error["message"],
        again=bool(resolution.get("again", False)),
        data=error.get("data"),
    )


def begin(
    path: str, node_type: str, seq: int, now: datetime, before: StepState | None
) -> StepState:
    """Return the state of a step whose next attempt starts now."""
    if before is not None:
        attempt, failures, lost = before.attempt + 1, before.failures, before.lost
    else:
        attempt, failures, lost = 1, 0, 0
    return StepState(
        path,
        node_type,
        AttemptStatus.RUNNING,
        attempt,
        seq,
        started_at=now,
        failures=failures,
        lost=lost,
        granted=() if before is None else before.granted,
    )


def skip(path: str, node_type: str, seq: int, now: datetime) -> StepState:
    """Return the state of a step that is never tried."""
    return StepState(path, node_type, AttemptStatus.SKIPPED, 0, seq, finished_at=now)


def settle(
    state: StepState,
    outcome: Outcome | Withheld,
    policy: RetryPolicy,
    now: datetime,
    random: Callable[[], float],
) -> StepState:
    """Return the state after an attempt ended: done, waiting, to be tried again at `retry_at`, or failed for good."""
    if isinstance(outcome, Suspended):
        return replace(state, status=AttemptStatus.WAITING, wait=outcome.wait)
    if isinstance(outcome, Succeeded):
        return _succeeded(state, outcome, now)
    if isinstance(outcome, Withheld):
        return withhold(state, outcome.held, now)
    failures = state.failures + 1
    delay = retry_delay(policy, failures, outcome.after_seconds, random) if outcome.again else None
    return replace(
        state,
        status=AttemptStatus.TIMED_OUT if outcome.timed_out else AttemptStatus.FAILED,
        error=outcome.error,
        failures=failures,
        retry_at=None if delay is None else now + timedelta(seconds=delay),
        finished_at=now,
    )


def _succeeded(state: StepState, outcome: Succeeded, now: datetime) -> StepState:
    # Nearly every attempt ends here, and `replace` takes five times as long.
    return StepState(
        state.path,
        state.type,
        AttemptStatus.SUCCEEDED,
        state.attempt,
        state.seq,
        outcome.port,
        outcome.output,
        state.error,
        state.retry_at,
        state.started_at,
        now,
        state.failures,
        state.lost,
        state.wait,
    )


def retry_delay(
    policy: RetryPolicy, failures: int, after_seconds: float | None, random: Callable[[], float]
) -> float | None:
    """Return the seconds until the next attempt, or None when the policy allows no more.

    Exponential: initial x multiplier^(failures-1), at most the maximum, plus up to `jitter` of itself. A server's
    Retry-After (`after_seconds`) only makes it longer.
    """
    if failures >= policy.max_attempts:
        return None
    exponent = min(failures - 1, 1000)
    try:
        grown = policy.initial_delay_seconds * policy.multiplier**exponent
    except OverflowError:
        grown = policy.max_delay_seconds
    delay = min(grown, policy.max_delay_seconds) * (1 + policy.jitter * random())
    asked = after_seconds if after_seconds is not None and after_seconds > 0 else 0.0
    return max(delay, min(asked, MAX_RETRY_AFTER_SECONDS))


def fail(state: StepState, failed: Failed, now: datetime) -> StepState:
    """Return the state of a step that failed before or without an attempt: for good."""
    return replace(
        state,
        status=AttemptStatus.FAILED,
        error=failed.error,
        failures=state.failures + 1,
        finished_at=now,
    )


def succeed(state: StepState, output: Any, now: datetime) -> StepState:
    """Return the state of a step that the engine itself has carried out, such as a loop."""
    return replace(
        state, status=AttemptStatus.SUCCEEDED, output=output, port=MAIN_PORT, finished_at=now
    )


def lose(
    state: StepState, on_lost: OnLost, now: datetime, random: Callable[[], float]
) -> StepState:
    """Return the state of a step whose worker died during the attempt: tried again, or failed.

    Losing a worker is not the step's failure, so it consumes no attempt of the retry policy; but three losses of one
    step look like the step's doing, and fail it. After the first loss it is tried at once. After the second, any step
    that ran then may be the guilty one: they are tried apart from each other, so that it takes no neighbours along.
    """
    lost = state.lost + 1
    error: Mapping[str, Any] = {
        "code": WORKER_LOST,
        "message": "The worker died during this attempt; whether its effect took place is unknown.",
    }
    again = on_lost != "fail" and lost < MAX_LOST_ATTEMPTS
    apart = timedelta(seconds=SUSPECTS_APART_SECONDS * random() if lost > 1 else 0)
    return replace(
        state,
        status=AttemptStatus.LOST,
        error=error,
        lost=lost,
        retry_at=now + apart if again else None,
        finished_at=now,
    )


def withhold(state: StepState, held: Held, now: datetime) -> StepState:
    """Return the state of a step whose attempt a guard has not let begin: tried again when the run goes on, not counted."""
    error = {"code": held.code, "message": held.reason}
    return replace(state, status=AttemptStatus.LOST, error=error, retry_at=now, finished_at=now)


def after_asking(
    state: StepState,
    asked: str,
    answer: Succeeded | Failed,
    now: datetime,
) -> StepState:
    """Return the state of a step about which people were asked, because a policy wants that.

    What is granted is tried at once, as its next attempt: the one that asked was none, and does not count.
    """
    if isinstance(answer, Failed):
        return fail(state, Failed("policy_rejected", answer.message, data=answer.data), now)
    granted = (*state.granted, asked)
    return replace(
        state, status=AttemptStatus.SKIPPED, granted=granted, retry_at=now, finished_at=now
    )


def interrupt(state: StepState, now: datetime, on_lost: OnLost = "retry") -> StepState:
    """Return the state of a step whose worker is shutting down: tried again at once by the next one, not counted.

    A step whose effect must not be repeated fails, as when its worker dies.
    """
    error = {"code": "worker_stopped", "message": "The worker was stopped during this attempt."}
    return replace(
        state,
        status=AttemptStatus.LOST,
        error=error,
        retry_at=None if on_lost == "fail" else now,
        finished_at=now,
    )


def cancel(state: StepState, now: datetime) -> StepState:
    """Return the state of a step that was interrupted because its run is over."""
    return replace(state, status=AttemptStatus.CANCELLED, finished_at=now)
