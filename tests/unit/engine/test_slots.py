"""How many runs a process has in flight, and how lanes share it."""

import threading

import pytest

from app.engine.slots import Slots


def test_a_lane_alone_takes_nearly_all_and_leaves_some_for_others() -> None:
    slots = Slots(500)

    granted = slots.take("a", 1_000)

    assert granted == 444
    assert slots.take("a", 1) == 0
    assert slots.take("b", 1) == 1


def test_many_newcomers_find_room_beside_lanes_that_take_what_they_can() -> None:
    slots = Slots(500)

    granted = [slots.take(lane, 1_000) for lane in "abcde"]

    assert granted == [444, 49, 6, 1, 0]


@pytest.mark.parametrize(("limit", "alone"), [(1, 1), (2, 1), (3, 2), (9, 8), (10, 8)])
def test_small_limits_work_too(limit: int, alone: int) -> None:
    slots = Slots(limit)

    granted = slots.take("a", limit)

    assert granted == alone
    assert bool(slots.take("b", 1)) is (limit > alone)


def test_what_a_large_lane_gives_back_goes_to_small_ones_until_they_are_level() -> None:
    slots = Slots(170)
    held = {"a": slots.take("a", 1_000), "b": slots.take("b", 1_000)}

    for _ in range(100):
        slots.release("a")
        held["a"] += slots.take("a", 1_000) - 1
        held["b"] += slots.take("b", 1_000)

    assert held["b"] == pytest.approx(80, abs=6)
    assert held["a"] < 100


def test_a_large_lane_is_not_granted_single_slots() -> None:
    slots = Slots(180)
    slots.take("a", 160)

    released_before_more = 0
    while not slots.take("a", 160):
        slots.release("a")
        released_before_more += 1

    assert released_before_more == 10


def test_a_small_lane_is_granted_single_slots() -> None:
    slots = Slots(500)
    slots.take("a", 1_000)
    slots.take("b", 3)

    assert slots.take("b", 1) == 1


def test_full_lanes_are_those_that_may_not_take_any() -> None:
    slots = Slots(9)
    slots.take("a", 9)

    beside = slots.full("abc")
    slots.take("b", 1)

    assert beside == {"a"}
    assert slots.full("abc") == {"a", "b", "c"}


def test_one_waits_for_room_in_one_of_some_lanes() -> None:
    slots, found = Slots(1), []
    slots.take("a", 1)
    waiting = threading.Thread(target=lambda: found.append(slots.wait_for_room("bc", 5)))
    waiting.start()

    slots.release("a")
    waiting.join(5)

    assert found == [True]


def test_one_does_not_wait_for_ever() -> None:
    slots = Slots(1)
    slots.take("a", 1)

    assert not slots.wait_for_room("b", 0.01)


def test_closing_lets_nobody_wait_and_grants_nothing() -> None:
    slots, found = Slots(1), []
    slots.take("a", 1)
    waiting = threading.Thread(target=lambda: found.append(slots.wait_for_room("a", 5)))
    waiting.start()

    slots.close()
    waiting.join(5)
    slots.release("a")

    assert found == [False]
    assert slots.take("a", 1) == 0
