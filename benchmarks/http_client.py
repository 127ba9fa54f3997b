"""The least of HTTP/1.1: one keep-alive connection, one request at a time, answers with a Content-Length."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


def post(url: str, body: str, key: str) -> bytes:
    """Return a POST of JSON with an Idempotency-Key."""
    parts = urlsplit(url)
    content = body.encode()
    head = (
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nIdempotency-Key: {key}\r\n\r\n"
    )
    return head.encode() + content


class Connection(asyncio.Protocol):
    """A connection that asks and tells the status of the answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[int] | None = None

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to the host of an address."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            cls, parts.hostname or "127.0.0.1", parts.port or 80
        )
        return connection

    async def ask(self, request: bytes) -> int:
        """Send a request; returns the answer's status.

        Raises:
            ConnectionError: the server hung up.
        """
        if self._transport is None:
            raise ConnectionError("the server hung up")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received += data
        status = whole_answer(self._received)
        if status is not None and self._answer is not None:
            self._received = b""
            self._answer.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        del error
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))


def whole_answer(received: bytes) -> int | None:
    """Return the status of an answer that has arrived with all its body, else None."""
    end = received.find(HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.index(LENGTH) + len(LENGTH)
    length = int(head[at:].split(b"\r\n", 1)[0])
    return int(head[9:12]) if len(received) >= end + len(HEAD_END) + length else None
