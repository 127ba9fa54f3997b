"""When the load generator sends: by a timetable, and not while too many runs are unfinished."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import create_engine

from app.db.base import database_url
from benchmarks.queries import backlog

LOOK_SECONDS = 0.1


class Timetable:
    """Hands out the moments at which requests are due, until the time is over or there were enough."""

    def __init__(self, seconds: float, rate: float | None, most: int | None) -> None:
        self.started = time.perf_counter()
        self._seconds = seconds
        self._rate = rate
        self._most = most
        self._handed_out = 0

    async def next(self) -> float | None:
        """Wait until a request is due and return when it was; None at the end."""
        if self._most is not None and self._handed_out >= self._most:
            return None
        now = time.perf_counter()
        due = self.started + self._handed_out / self._rate if self._rate else now
        if due >= self.started + self._seconds:
            return None
        self._handed_out += 1
        if due <= now:
            return due
        await asyncio.sleep(due - now)
        return time.perf_counter()  # a timer that rings late is no delay of the server


class Gate:
    """Closed while more than `limit` runs are unfinished; always open without a database."""

    def __init__(self, url: str, limit: int) -> None:
        # Without what our own engines do at BEGIN: with SQLite, a look must not wait for writers.
        self._engine = create_engine(database_url(url)) if url else None
        self._limit = limit
        self._open = asyncio.Event()
        self._open.set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._open.wait()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Open and close it in the background."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        while self._engine is not None:
            if await asyncio.to_thread(backlog, self._engine) > self._limit:
                self._open.clear()
            else:
                self._open.set()
            await asyncio.sleep(LOOK_SECONDS)
