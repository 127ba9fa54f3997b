"""The clock that follows the database's."""

import time
from datetime import timedelta

import pytest

from app.core.clock import SyncedClock, SystemClock

HOUR = timedelta(hours=1)


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that stand still until the test moves them."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_first_answer_is_taken_however_wrong_the_machine_is(monotonic: list[float]) -> None:
    told = SystemClock().now() - HOUR
    clock = SyncedClock()

    clock.sync(told, monotonic[0])

    assert clock.now() == told


def test_it_runs_on_between_answers(monotonic: list[float]) -> None:
    told = SystemClock().now()
    clock = SyncedClock()
    clock.sync(told, monotonic[0])

    monotonic[0] += 5

    assert clock.now() == told + timedelta(seconds=5)


def test_a_slow_answer_does_not_put_it_back(monotonic: list[float]) -> None:
    told = SystemClock().now()
    clock = SyncedClock()
    clock.sync(told, monotonic[0])
    asked = monotonic[0]
    monotonic[0] += 4

    clock.sync(told, asked)

    assert clock.now() == told + timedelta(seconds=4)


def test_a_database_that_was_set_back_is_followed(monotonic: list[float]) -> None:
    told = SystemClock().now()
    clock = SyncedClock()
    clock.sync(told, monotonic[0])

    clock.sync(told - HOUR, monotonic[0])

    assert clock.now() == told - HOUR


def test_half_of_the_way_is_added(monotonic: list[float]) -> None:
    told = SystemClock().now()
    clock = SyncedClock()
    asked = monotonic[0]
    monotonic[0] += 2

    clock.sync(told, asked)

    assert clock.now() == told + timedelta(seconds=1)
