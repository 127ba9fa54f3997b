"""The turns that requests take at the database."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from app.api.container import Container, container_of

Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's turn at the database."""

    container: Container

    async def hash(
        self, work: Callable[Given, Made], *args: Given.args, **options: Given.kwargs
    ) -> Made:
        """Return what comes of hashing a password, in a thread; others have the turn meanwhile, for that takes long.

        Whoever waits for the processor to hash waits here, and not in a thread that others need.
        """
        self.container.turns.release()
        try:
            async with self.container.hashing:
                return await run_in_threadpool(work, *args, **options)
        finally:
            await self.container.turns.acquire()


async def database_turn(request: Request) -> AsyncIterator[Turn]:
    """Wait for one of the turns that requests take at the database, and keep it until the session is committed.

    A request runs in one thread after the other and keeps its connection in between. Were more of them let in than there are
    connections, those without one would fill all threads with waiting for it, and those with one would get none to end in.
    """
    container = container_of(request)
    async with container.turns:
        yield Turn(container)


DatabaseTurn = Annotated[Turn, Depends(database_turn, scope="function")]
