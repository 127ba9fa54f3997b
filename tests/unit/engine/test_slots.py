"""How many runs a process has in flight."""

import threading

from app.engine.slots import Slots


def test_as_many_are_granted_as_are_free() -> None:
    slots = Slots(3)

    assert slots.acquire(2) == 2
    assert slots.acquire(5) == 1


def test_at_the_limit_one_waits_for_a_release() -> None:
    slots, granted = Slots(1), []
    slots.acquire(1)
    waiting = threading.Thread(target=lambda: granted.append(slots.acquire(1)))
    waiting.start()

    assert granted == []
    slots.release()
    waiting.join(5)

    assert granted == [1]


def test_closing_lets_nobody_wait() -> None:
    slots, granted = Slots(1), []
    slots.acquire(1)
    waiting = threading.Thread(target=lambda: granted.append(slots.acquire(1)))
    waiting.start()

    slots.close()
    waiting.join(5)

    assert granted == [0]
    assert slots.acquire(1) == 0
