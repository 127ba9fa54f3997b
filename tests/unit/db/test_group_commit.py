"""Group commit: what arrives during one flush shares the next, and each caller hears of its own item."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import Unavailable
from app.db.group_commit import GroupCommit


class Flushes:
    """A flush that records its batches, and can be held back or made to fail."""

    def __init__(self, fault: Callable[[Sequence[int]], Exception | None] = lambda _: None) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self._fault = fault

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        assert self.gate.wait(5)
        fault = self._fault(items)
        if fault is not None:
            raise fault
        return [item * 10 for item in items]


def commits(flush: Flushes, max_batch: int = 500) -> GroupCommit[int, int]:
    return GroupCommit(flush, name="test", max_batch=max_batch)


async def test_alone_an_item_is_flushed_at_once() -> None:
    flush = Flushes()

    assert await commits(flush).submit(1) == 10
    assert flush.batches == [[1]]


async def test_what_arrives_during_a_flush_shares_the_next_one() -> None:
    flush = Flushes()
    group = commits(flush)
    flush.gate.clear()

    first = group.put(1)
    await asyncio.sleep(0)
    others = [group.put(item) for item in (2, 3, 4)]
    flush.gate.set()

    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert flush.batches in ([[1], [2, 3, 4]], [[1, 2, 3, 4]])


async def test_a_batch_has_a_limit() -> None:
    flush = Flushes()

    results = await asyncio.gather(*(commits(flush, 2).submit(item) for item in (1,)))
    group = commits(flush, 2)
    results += await asyncio.gather(*[group.put(item) for item in range(5)])

    assert results == [10, 0, 10, 20, 30, 40]
    assert max(len(batch) for batch in flush.batches) == 2


async def test_only_the_guilty_item_of_a_batch_fails() -> None:
    flush = Flushes(lambda items: DataError("", {}, ValueError("bad")) if 2 in items else None)
    group = commits(flush)

    results = await asyncio.gather(*[group.put(item) for item in (1, 2, 3)], return_exceptions=True)

    assert results[0] == 10
    assert isinstance(results[1], DataError)
    assert results[2] == 30


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("", {}, ValueError("server closed the connection")),
        DBAPIError("", {}, ValueError("disk full")),
        PoolTimeout(),
    ],
    ids=["away", "disk full", "too busy"],
)
async def test_a_database_in_trouble_is_no_item_s_fault(fault: Exception) -> None:
    flush = Flushes(lambda _: fault)
    group = commits(flush)

    results = await asyncio.gather(*[group.put(item) for item in (1, 2)], return_exceptions=True)

    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert flush.batches == [[1, 2]]


async def test_a_caller_that_went_away_disturbs_nobody() -> None:
    flush = Flushes()
    group = commits(flush)
    flush.gate.clear()

    gone, stays = group.put(1), group.put(2)
    gone.cancel()
    flush.gate.set()

    assert await stays == 20


async def test_closing_flushes_what_is_pending_and_takes_nothing_more() -> None:
    flush = Flushes()
    group = commits(flush)
    pending = group.put(1)

    await group.close()

    assert pending.result() == 10
    with pytest.raises(Unavailable):
        group.put(2)


class _Deadlock(Exception):
    pgcode = "40P01"


async def test_items_whose_batch_met_another_one_in_a_circle_are_flushed_one_by_one() -> None:
    deadlock = OperationalError("INSERT", {}, _Deadlock())
    flush = Flushes(lambda items: deadlock if len(items) > 1 else None)
    group = commits(flush)
    flush.gate.clear()

    first = group.put(1)
    await asyncio.sleep(0)
    others = [group.put(item) for item in (2, 3)]
    flush.gate.set()

    assert await asyncio.gather(first, *others) == [10, 20, 30]
    assert flush.batches[-2:] == [[2], [3]]
