"""Hints on their way from any thread, gathered while the last one is sent."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

from app.engine.delivery.dispatch import BackgroundDispatch, Dispatcher
from app.engine.delivery.hints import MAX_RUNS_PER_HINT

PATIENCE_SECONDS = 10.0


class Slow:
    """A dispatcher whose first hint takes until the test says so; `fault` makes it fail."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.hints: list[tuple[list[str], dict[str, str]]] = []
        self.fault = fault
        self.is_down = False

    def dispatch(self, run_ids: Sequence[str], owners: Mapping[str, str]) -> bool:
        self.hints.append(([*run_ids], {**owners}))
        self.begun.set()
        assert self.may_end.wait(PATIENCE_SECONDS)
        if self.fault is not None:
            raise self.fault
        return True


def background(slow: Slow, sizes: list[int] | None = None) -> BackgroundDispatch:
    observe: Any = None if sizes is None else sizes.append
    return BackgroundDispatch(cast("Dispatcher", slow), observe)


async def test_what_comes_while_a_hint_is_sent_goes_together() -> None:
    slow, sizes = Slow(), list[int]()
    dispatch = background(slow, sizes)
    dispatch.put("a", "ada")
    assert slow.begun.wait(PATIENCE_SECONDS)
    dispatch.put("b", "bob")
    dispatch.put("c")

    slow.may_end.set()
    await dispatch.close()

    assert slow.hints == [(["a"], {"a": "ada"}), (["b", "c"], {"b": "bob"})]
    assert sizes == [1, 2]


async def test_a_hint_has_its_limit() -> None:
    slow = Slow()
    dispatch = background(slow)
    dispatch.put("first")
    assert slow.begun.wait(PATIENCE_SECONDS)
    for number in range(MAX_RUNS_PER_HINT + 1):
        dispatch.put(str(number))

    slow.may_end.set()
    await dispatch.close()

    assert [len(run_ids) for run_ids, _ in slow.hints] == [1, MAX_RUNS_PER_HINT, 1]


async def test_a_fault_does_not_end_it() -> None:
    slow = Slow(RuntimeError("unforeseen"))
    slow.may_end.set()
    dispatch = background(slow)
    dispatch.put("a")
    assert slow.begun.wait(PATIENCE_SECONDS)
    slow.begun.clear()
    dispatch.put("b")

    assert slow.begun.wait(PATIENCE_SECONDS)
    await dispatch.close()

    assert [run_ids for run_ids, _ in slow.hints] == [["a"], ["b"]]


async def test_closed_without_work_it_ends_at_once() -> None:
    slow = Slow()

    await background(slow).close()

    assert slow.hints == []


async def test_a_run_that_comes_alone_is_dispatched_before_its_caller_goes_on() -> None:
    slow = Slow()
    slow.may_end.set()
    dispatch = background(slow)

    dispatch.put_alone("a", "ada")
    hints = [*slow.hints]
    await dispatch.close()

    assert hints == [(["a"], {"a": "ada"})]


async def test_nobody_waits_for_a_redis_that_does_not_answer() -> None:
    slow = Slow()
    slow.is_down = True
    dispatch = background(slow)

    dispatch.put_alone("a", "ada")  # its hint takes until the test says so
    slow.may_end.set()
    await dispatch.close()

    assert slow.hints == [(["a"], {"a": "ada"})]
