"""Server-sent events: a feed, read again and again, for as long as the client listens and its token holds."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import orjson
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from app.api.container import Container
from app.core.errors import AutomateError, NotAuthenticated
from app.core.permissions import Scope
from app.core.security.tokens import TokenClaims
from app.services.authentication import Proof
from app.services.callers import Caller
from app.services.streams import Change, Feed

POLL_SECONDS: Final = 0.5
READ_SHARE: Final = 20
"""A feed that takes long to read is read less often: the database is busy with it for a twentieth of the time at most."""
KEEP_ALIVE_SECONDS: Final = 15.0
RECONNECT_MILLISECONDS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Listener:
    """Who follows a feed, and what proves it for as long as they do."""

    caller: Caller
    proof: Proof


async def event_stream(container: Container, listener: Listener, feed: Feed) -> StreamingResponse:
    """Return the answer that tells a feed's changes.

    What refuses the first reading is an ordinary error answer; later on, the stream just ends, and the client connects anew.

    Raises:
        TooManyRequests: too many streams are open.
    """
    container.streams.require_room(listener.caller.id)
    first = await asyncio.to_thread(_read, container, feed)
    return StreamingResponse(
        _tell(container, listener, feed, first), media_type="text/event-stream"
    )


async def _tell(
    container: Container, listener: Listener, feed: Feed, first: tuple[list[Change], bool]
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    with container.streams.listen(listener.caller.id):
        yield format_sse_event(comment="connected", retry=RECONNECT_MILLISECONDS)
        (changes, over), spent, checked = first, 0.0, loop.time()
        while True:
            for change in changes:
                yield _encode(change)
            if over:
                return
            if loop.time() - checked > KEEP_ALIVE_SECONDS:
                checked = loop.time()
                if not await asyncio.to_thread(_bring_up_to_date, container, listener.proof, feed):
                    return
                yield format_sse_event(comment="listening")
            await asyncio.sleep(max(POLL_SECONDS, spent * READ_SHARE))
            started = loop.time()
            try:
                changes, over = await asyncio.to_thread(_read, container, feed)
            except (AutomateError, DBAPIError, PoolTimeout):
                return
            spent = loop.time() - started


def _read(container: Container, feed: Feed) -> tuple[list[Change], bool]:
    with Session(container.engine) as session:
        container.tenancy.confine(session, feed.caller.owners, feed.caller.email)
        changes, over = feed.read(session)
        return list(changes), over


def _bring_up_to_date(container: Container, proof: Proof, feed: Feed) -> bool:
    """Let a feed know in which teams its caller is now; returns whether the proof still holds."""
    now = container.clock.now()
    if isinstance(proof, TokenClaims) and now.timestamp() >= proof.expires_at:
        return False
    try:
        feed.caller = container.callers.find(proof, now, feed.caller.address)
    except (NotAuthenticated, DBAPIError, PoolTimeout):
        return False
    return Scope.RUNS_READ in feed.caller.scopes


def _encode(change: Change) -> bytes:
    data = change.data
    plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
    return format_sse_event(data_str=orjson.dumps(plain).decode(), event=change.event, id=change.id)
