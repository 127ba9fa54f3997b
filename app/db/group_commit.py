"""Group commit: what arrives while one transaction is being flushed is written together in the next.

Nobody waits for a timer: alone, an item is flushed at once; under load, batches grow by themselves. Every caller still
waits for the commit that holds its own item.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
FAULTS_OF_THE_DATA = (DataError, IntegrityError, ProgrammingError)
"""What an item can be guilty of; everything else (away, full, locked, too busy) is the database's state and passes."""
DEADLOCK = "40P01"
"""What Postgres says to one of those who wait for each other; nothing of its transaction stays."""
Flush = Callable[[Sequence[Item]], Sequence[Result | Exception]]


class GroupCommit(Generic[Item, Result]):
    """Collects items on an event loop and flushes them, one batch at a time, in a thread of its own.

    `flush` writes a batch in one transaction and returns one result, or exception, per item, in order. When it raises
    because of the data, the batch is flushed again item by item, so that only the guilty one fails; and when its transaction
    and another one have waited for each other: an item by itself does not hold one thing while it waits for another.
    `observe` is told the size of each batch.
    """

    def __init__(
        self,
        flush: Flush[Item, Result],
        *,
        name: str,
        max_batch: int = 500,
        observe: Callable[[int], None] | None = None,
    ) -> None:
        self._flush = flush
        self._max_batch = max_batch
        self._observe = observe
        self._pending: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """Return the item's result once the transaction that holds it is committed.

        Raises:
            Unavailable: the database does not answer; whether the item was stored is unknown.
        """
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Add an item from the event loop; the future resolves at its commit."""
        if self._closed:
            raise Unavailable("The process is shutting down: try again shortly.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._pending.append((item, future))
        if self._flusher is None:
            self._flusher = loop.create_task(self._flush_pending())
        return future

    async def close(self) -> None:
        """Flush what is pending and stop."""
        self._closed = True
        while self._flusher is not None:
            await asyncio.wait({self._flusher})
        self._thread.shutdown(wait=False)

    async def _flush_pending(self) -> None:
        try:
            while self._pending:
                batch = [
                    self._pending.popleft() for _ in range(min(len(self._pending), self._max_batch))
                ]
                if self._observe is not None:
                    self._observe(len(batch))
                results = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._flush_safely, [item for item, _ in batch]
                )
                for (_, future), result in zip(batch, results, strict=True):
                    _settle(future, result)
        finally:
            self._flusher = None

    def _flush_safely(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            return self._flush(items)
        except Unavailable as error:
            return [error] * len(items)
        except (DBAPIError, PoolTimeout) as error:
            if len(items) > 1 and (isinstance(error, FAULTS_OF_THE_DATA) or _is_deadlock(error)):
                return self._flush_singly(items)
            known = error if isinstance(error, FAULTS_OF_THE_DATA) else _unavailable(error)
            return [known] * len(items)
        except Exception as error:  # noqa: BLE001 - whatever went wrong belongs to the callers who wait
            return [error] if len(items) == 1 else self._flush_singly(items)

    def _flush_singly(self, items: Sequence[Item]) -> list[Result | Exception]:
        return [result for item in items for result in self._flush_safely([item])]


def _settle(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _is_deadlock(error: Exception) -> bool:
    return getattr(getattr(error, "orig", None), "pgcode", None) == DEADLOCK


def _unavailable(error: Exception) -> Unavailable:
    fault = Unavailable("The database does not answer right now: try again shortly.")
    fault.__cause__ = error
    return fault
