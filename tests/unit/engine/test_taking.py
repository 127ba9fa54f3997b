"""Hints are passed on as far as their lanes have room."""

import threading
from collections.abc import Mapping, Sequence

import pytest

from app.core.clock import SystemClock
from app.core.errors import Unavailable
from app.engine.delivery import taking
from app.engine.delivery.lanes import LANES, MIXED, Hint
from app.engine.delivery.taking import Taker
from app.engine.slots import Slots

A, B, C = LANES[:3]


class Process:
    """Begins as many runs as there are slots for, and holds them until they are told to end."""

    def __init__(self, limit: int) -> None:
        self.slots = Slots(limit)
        self.begun: list[str] = []
        self.put_back: list[Hint] = []
        self.faults: list[Exception] = []
        self.stopping = threading.Event()
        self.taker = Taker(
            self.advance, self.slots, self.put_back.append, SystemClock(), self.stopping
        )

    def advance(self, runs: Hint) -> Mapping[str, Sequence[str]]:
        if self.faults:
            raise self.faults.pop()
        granted = {lane: self.slots.take(lane, len(ids)) for lane, ids in runs.items()}
        self.begun += [run for lane, ids in runs.items() for run in ids[: granted[lane]]]
        return {lane: ids[granted[lane] :] for lane, ids in runs.items() if ids[granted[lane] :]}


def _runs(lane: str, count: int) -> dict[str, list[str]]:
    return {lane: [f"{lane}/{number}" for number in range(count)]}


def _lanes(runs: Sequence[str]) -> list[str]:
    return [run.split("/")[0] for run in runs]


def test_what_has_no_room_waits_here_and_holds_up_its_own_queue_only() -> None:
    process = Process(9)

    process.taker.take(A, _runs(A, 20))

    assert _lanes(process.begun) == [A] * 8
    assert process.taker.go_on() == {A}
    assert process.put_back == []


def test_what_is_left_goes_on_when_slots_are_free() -> None:
    process = Process(9)
    process.taker.take(A, _runs(A, 20))

    process.slots.release(A, 8)
    process.taker.go_on()

    assert process.begun == _runs(A, 16)[A]


def test_a_mixed_hint_never_waits_here() -> None:
    process = Process(9)
    process.taker.take(A, _runs(A, 20))

    process.taker.take(MIXED, {**_runs(A, 2), **_runs(B, 1)})

    assert process.begun[-1] == f"{B}/0"
    assert process.put_back == [_runs(A, 2)]


def test_with_no_slot_free_no_queue_is_read() -> None:
    process = Process(1)

    process.taker.take(A, _runs(A, 1))

    assert process.taker.go_on() == {MIXED, *LANES}


def test_queues_and_what_is_left_here_take_turns_at_a_single_slot() -> None:
    process = Process(1)
    process.taker.take(A, _runs(A, 9))
    process.taker.take(B, _runs(B, 9))

    for _ in range(12):
        process.slots.release(_lanes(process.begun)[-1])
        if C not in process.taker.go_on():
            process.taker.take(MIXED, _runs(C, 1))

    assert [_lanes(process.begun).count(lane) for lane in (A, B, C)] == [4, 3, 6]


def test_a_fault_of_the_database_postpones_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "CLAIM_PAUSE_SECONDS", 0.001)
    process = Process(9)
    process.faults = [Unavailable("not now"), Unavailable("not now")]

    process.taker.take(A, _runs(A, 2))

    assert process.begun == _runs(A, 2)[A]


def test_a_process_that_stops_puts_back_what_it_cannot_claim() -> None:
    process = Process(9)
    process.faults = [Unavailable("not now")]
    process.stopping.set()

    process.taker.take(A, _runs(A, 2))
    process.taker.put_back()
    process.taker.put_back()

    assert process.put_back == [_runs(A, 2)]


def test_runs_without_a_queue_are_taken_as_far_as_there_is_room_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taking, "DIRECT_PATIENCE_SECONDS", 0.01)
    process = Process(9)

    process.taker.take_now({**_runs(A, 20), **_runs(B, 1)})

    assert _lanes(process.begun) == [*[A] * 8, B]
