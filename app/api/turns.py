"""The turns that requests take at the database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from app.api.container import container_of
from app.core.errors import Unavailable

PATIENCE_SECONDS = 15.0
"""A request that has waited so long is refused: behind a database that hangs, they would pile up and be carried out when
those who asked have long gone."""


async def database_turn(request: Request) -> AsyncIterator[None]:
    """Wait for one of the turns that requests take at the database, and keep it until the session is committed.

    A request runs in one thread after the other and keeps its connection in between. Were more of them let in than there are
    connections, those without one would fill all threads with waiting for it, and those with one would get none to end in.

    Raises:
        Unavailable: none has come in time.
    """
    turns = container_of(request).turns
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise Unavailable("The database is too busy right now: try again shortly.") from None
    try:
        yield
    finally:
        turns.release()


DatabaseTurn = Annotated[None, Depends(database_turn, scope="function")]
