"""How a step's state changes, and what that leaves recorded."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.statuses import AttemptStatus
from app.engine.language.plan import RetryPolicy
from app.engine.planning.record import StepState, latest
from app.engine.planning.transitions import (
    MAX_RETRY_AFTER_SECONDS,
    SUSPECTS_APART_SECONDS,
    Failed,
    Succeeded,
    begin,
    cancel,
    interrupt,
    lose,
    retry_delay,
    settle,
    skip,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
POLICY = RetryPolicy(max_attempts=3, initial_delay_seconds=2, max_delay_seconds=5, multiplier=2)
FIRST = begin("a", "log", 0, NOW, None)


def no_jitter() -> float:
    return 0.0


def test_a_step_begins_running_with_its_first_attempt() -> None:
    assert (FIRST.status, FIRST.attempt, FIRST.started_at) == (AttemptStatus.RUNNING, 1, NOW)
    assert not FIRST.settled


def test_success_keeps_the_output_and_the_port() -> None:
    state = settle(FIRST, Succeeded({"n": 1}, "out"), POLICY, NOW, no_jitter)

    assert (state.status, state.output, state.port) == (AttemptStatus.SUCCEEDED, {"n": 1}, "out")
    assert state.settled
    assert not state.failed


def test_a_failure_is_tried_again_until_the_policy_is_used_up() -> None:
    delays = []
    state = FIRST
    while not state.failed:
        state = settle(state, Failed("x", "y"), POLICY, NOW, no_jitter)
        delays.append(state.retry_at)
        state = begin("a", "log", 0, NOW, state) if state.retry_at else state

    assert delays == [NOW + timedelta(seconds=2), NOW + timedelta(seconds=4), None]
    assert state.attempt == 3
    assert state.error == {"code": "x", "message": "y"}


def test_a_failure_for_good_is_not_tried_again() -> None:
    state = settle(FIRST, Failed("x", "y", again=False, data=[1]), POLICY, NOW, no_jitter)

    assert state.failed
    assert state.error == {"code": "x", "message": "y", "data": [1]}


def test_an_attempt_that_took_too_long_is_timed_out() -> None:
    state = settle(FIRST, Failed("x", "y", timed_out=True), POLICY, NOW, no_jitter)

    assert state.status is AttemptStatus.TIMED_OUT
    assert state.retry_at is not None


def test_a_lost_attempt_is_repeated_at_once_and_uses_up_no_retry() -> None:
    state = lose(FIRST, "retry", NOW, no_jitter)

    assert (state.status, state.retry_at) == (AttemptStatus.LOST, NOW)
    assert (state.lost, state.failures) == (1, 0)


def test_three_lost_attempts_fail_the_step() -> None:
    state = FIRST
    for _ in range(3):
        state = lose(begin("a", "log", 0, NOW, state), "retry", NOW, no_jitter)

    assert state.failed


def test_after_the_second_loss_the_suspects_are_tried_apart() -> None:
    first = lose(FIRST, "retry", NOW, lambda: 0.5)
    second = lose(begin("a", "log", 0, NOW, first), "retry", NOW, lambda: 0.5)

    assert first.retry_at == NOW
    assert second.retry_at == NOW + timedelta(seconds=SUSPECTS_APART_SECONDS / 2)


def test_a_node_that_must_not_repeat_fails_when_its_worker_is_lost() -> None:
    assert lose(FIRST, "fail", NOW, no_jitter).failed


def test_a_worker_that_stops_in_order_counts_against_nobody() -> None:
    state = interrupt(FIRST, NOW)

    assert (state.status, state.retry_at) == (AttemptStatus.LOST, NOW)
    assert (state.lost, state.failures) == (0, 0)


def test_skipped_and_cancelled_steps_are_settled() -> None:
    assert skip("a", "log", 0, NOW).settled
    assert cancel(FIRST, NOW).settled
    assert not cancel(FIRST, NOW).failed


def test_the_record_counts_what_went_wrong_before() -> None:
    def attempt(number: int, status: AttemptStatus, code: str) -> StepState:
        return StepState("a", "log", status, number, 0, error={"code": code}, retry_at=NOW)

    record = latest(
        [
            attempt(3, AttemptStatus.FAILED, "x"),
            attempt(1, AttemptStatus.LOST, "worker_lost"),
            attempt(2, AttemptStatus.LOST, "worker_stopped"),
            attempt(4, AttemptStatus.RUNNING, ""),
        ]
    )

    assert (record["a"].attempt, record["a"].failures, record["a"].lost) == (4, 1, 1)


@given(failures=st.integers(1, 200), jitter=st.floats(0, 1), after=st.none() | st.floats(0, 1e6))
def test_a_delay_is_bounded_and_never_shorter_than_the_server_asks(
    failures: int, jitter: float, after: float | None
) -> None:
    policy = RetryPolicy(1000, 1.5, 60, 3, jitter)

    delay = retry_delay(policy, failures, after, lambda: 1.0)

    assert delay is not None
    asked = min(after or 0, MAX_RETRY_AFTER_SECONDS)
    assert asked <= delay <= max(60 * 2, asked)


@pytest.mark.parametrize(("failures", "expected"), [(1, 1.0), (2, 10.0), (3, 100.0), (999, 300.0)])
def test_delays_grow_by_the_multiplier_up_to_the_maximum(failures: int, expected: float) -> None:
    policy = RetryPolicy(max_attempts=10_000, multiplier=10)

    assert retry_delay(policy, failures, None, no_jitter) == expected
