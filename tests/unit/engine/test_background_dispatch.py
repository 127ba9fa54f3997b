"""Hints that go out at once, and those that wait for the dispatch's own thread."""

from collections.abc import Mapping, Sequence
from threading import current_thread
from typing import cast

from app.engine.delivery.dispatch import BackgroundDispatch, Dispatcher


class Recording:
    """Stands for Redis: remembers which thread dispatched which runs."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.dispatched: list[tuple[str, Sequence[str]]] = []

    def dispatch(self, run_ids: Sequence[str], owners: Mapping[str, str]) -> bool:
        assert owners == dict.fromkeys(run_ids, "owner")
        self.dispatched.append((current_thread().name, run_ids))
        return True


async def test_a_run_that_comes_alone_is_dispatched_before_its_caller_goes_on() -> None:
    redis = Recording()
    dispatch = BackgroundDispatch(cast("Dispatcher", redis))

    dispatch.put_alone("run", "owner")
    found = [*redis.dispatched]
    await dispatch.close()

    assert found == [(current_thread().name, ["run"])]


async def test_nobody_waits_for_a_redis_that_does_not_answer() -> None:
    redis = Recording(is_down=True)
    dispatch = BackgroundDispatch(cast("Dispatcher", redis))

    dispatch.put_alone("run", "owner")
    await dispatch.close()

    assert redis.dispatched == [("dispatch", ["run"])]
