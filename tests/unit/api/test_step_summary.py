"""What became of a step, told from its attempts."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core.statuses import AttemptStatus, StepStatus
from app.models import StepAttempt
from app.services.runs import summarise

START = datetime(2026, 11, 21, tzinfo=UTC)


def _attempt(path: str, number: int, status: AttemptStatus, *, again: bool = False) -> StepAttempt:
    at = START + timedelta(seconds=number)
    return StepAttempt(
        run_id="r",
        path=path,
        attempt=number,
        seq=number,
        type="log",
        status=status,
        retry_at=at if again else None,
        started_at=at,
        finished_at=at,
    )


@pytest.mark.parametrize(
    ("status", "again", "over", "expected"),
    [
        (AttemptStatus.RUNNING, False, False, StepStatus.RUNNING),
        (AttemptStatus.SUCCEEDED, False, True, StepStatus.SUCCEEDED),
        (AttemptStatus.SKIPPED, False, True, StepStatus.SKIPPED),
        (AttemptStatus.CANCELLED, False, True, StepStatus.CANCELLED),
        (AttemptStatus.FAILED, False, False, StepStatus.FAILED),
        (AttemptStatus.FAILED, True, False, StepStatus.WAITING),
        (AttemptStatus.FAILED, True, True, StepStatus.FAILED),
        (AttemptStatus.TIMED_OUT, True, False, StepStatus.WAITING),
        (AttemptStatus.LOST, True, False, StepStatus.WAITING),
        (AttemptStatus.LOST, False, True, StepStatus.FAILED),
    ],
)
def test_the_latest_attempt_says_where_the_step_stands(
    status: AttemptStatus, again: bool, over: bool, expected: StepStatus
) -> None:
    earlier = _attempt("a", 1, AttemptStatus.FAILED, again=True)

    (step,) = summarise([_attempt("a", 2, status, again=again), earlier], over=over)

    assert (step.status, step.attempts) == (expected, 2)
    assert step.started_at == earlier.started_at


def test_a_skipped_step_has_no_attempts() -> None:
    (step,) = summarise([_attempt("a", 0, AttemptStatus.SKIPPED)], over=True)

    assert step.attempts == 0


def test_steps_come_in_order_of_their_first_attempts() -> None:
    attempts = [
        _attempt("b", 1, AttemptStatus.FAILED, again=True),
        _attempt("a", 2, AttemptStatus.SUCCEEDED),
        _attempt("b", 3, AttemptStatus.SUCCEEDED),
    ]

    assert [step.path for step in summarise(attempts, over=True)] == ["b", "a"]
