"""The loop of a duty: at its intervals, or when it is called."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.engine.duties.loop import DutyLoop

PATIENCE_SECONDS = 10.0


class Rounds:
    """A duty that tells of each round; `fault` makes it fail."""

    name = "rounds"
    interval_seconds = 0.01

    def __init__(self, fault: Exception | None = None) -> None:
        self.begun = threading.Semaphore(0)
        self.fault = fault

    def run_once(self) -> Mapping[str, int]:
        self.begun.release()
        if self.fault is not None:
            raise self.fault
        return {"things": 1}

    def happens(self) -> bool:
        return self.begun.acquire(timeout=PATIENCE_SECONDS)


@contextmanager
def running(duty: Rounds, *, on_call: bool) -> Iterator[tuple[DutyLoop, list[Mapping[str, int]]]]:
    told: list[Mapping[str, int]] = []

    def done(_: str, counts: Mapping[str, int]) -> None:
        told.append(counts)

    loop = DutyLoop(duty, done, on_call=on_call)
    loop.start()
    yield loop, told
    loop.stop()


def test_a_regular_duty_has_a_round_at_each_interval() -> None:
    duty = Rounds()
    with running(duty, on_call=False):
        assert duty.happens()
        assert duty.happens()


def test_a_duty_on_call_has_a_round_for_each_call() -> None:
    duty = Rounds()
    with running(duty, on_call=True) as (loop, told):
        assert not duty.begun.acquire(timeout=20 * duty.interval_seconds)
        loop.call()
        assert duty.happens()
        assert not duty.begun.acquire(timeout=20 * duty.interval_seconds)
        loop.call()
        assert duty.happens()
    assert told == [{"things": 1}] * 2


def test_a_failed_round_is_told_and_the_duty_lives() -> None:
    duty = Rounds(OSError("away"))
    with running(duty, on_call=True) as (loop, told):
        loop.call()
        assert duty.happens()
        loop.call()
        assert duty.happens()
    assert told == [{"failed": 1}] * 2


def test_a_duty_that_nobody_calls_stops_at_once() -> None:
    duty = Rounds()
    with running(duty, on_call=True) as (loop, told):
        loop.stop()
        assert not loop._thread.is_alive()
    assert told == []
