"""The turns that requests take at the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from app.api.container import Container, container_of
from app.core.errors import Unavailable

PATIENCE_SECONDS = 15.0
"""A request that has waited so long is refused: behind a database that hangs, they would pile up and be carried out when
those who asked have long gone."""
Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass(slots=True)
class Turn:
    """A request's turn at the database."""

    container: Container
    held: bool = False

    async def take(self) -> None:
        """Wait for one.

        Raises:
            Unavailable: none has come in time.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.container.turns.acquire()
        except TimeoutError:
            raise Unavailable("The database is too busy right now: try again shortly.") from None
        self.held = True

    def give_back(self) -> None:
        """Let another request have it."""
        if self.held:
            self.held = False
            self.container.turns.release()

    async def hash(
        self, work: Callable[Given, Made], *args: Given.args, **options: Given.kwargs
    ) -> Made:
        """Return what comes of hashing a password, in a thread; others have the turn meanwhile, for that takes long.

        Whoever waits for the processor to hash waits here, and not in a thread that others need.

        Raises:
            Unavailable: no turn has come in time to go on with.
        """
        self.give_back()
        async with self.container.hashing:
            made = await run_in_threadpool(work, *args, **options)
        await self.take()
        return made


@asynccontextmanager
async def turn_at(container: Container) -> AsyncIterator[Turn]:
    """Wait for a turn, and keep it for as long as this is open.

    Raises:
        Unavailable: none has come in time.
    """
    turn = Turn(container)
    await turn.take()
    try:
        yield turn
    finally:
        turn.give_back()


async def database_turn(request: Request) -> AsyncIterator[Turn]:
    """Wait for one of the turns that requests take at the database, and keep it until the session is committed.

    A request runs in one thread after the other and keeps its connection in between. Were more of them let in than there are
    connections, those without one would fill all threads with waiting for it, and those with one would get none to end in.

    Raises:
        Unavailable: none has come in time.
    """
    async with turn_at(container_of(request)) as turn:
        yield turn


DatabaseTurn = Annotated[Turn, Depends(database_turn, scope="function")]
