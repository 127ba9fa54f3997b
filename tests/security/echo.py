"""A server in a thread that gives back what it is sent, in many clothes, and access tokens to those who ask for one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from tests.integration.engine.vault import Echo

START_SECONDS = 5.0


class TokenEcho(Echo):
    """Gives the access token to whoever asks for one at `/token`."""

    access_token = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readexactly(len(b"POST /token"))
        if head != b"POST /token":
            await super().handle(_Begun(head, reader), writer)
            return
        await reader.readuntil(b"\r\n\r\n")
        body = orjson.dumps({"access_token": self.access_token, "token_type": "Bearer", "expires_in": 3600})  # fmt: skip
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip
        await writer.drain()
        writer.close()


class _Begun(asyncio.StreamReader):
    """A reader whose first bytes have been read already."""

    def __init__(self, begun: bytes, rest: asyncio.StreamReader) -> None:
        super().__init__()
        self._begun, self._rest = begun, rest

    async def readuntil(self, separator: bytes | tuple[bytes, ...] = b"\n") -> bytes:
        """Read up to a mark."""
        return self._begun + await self._rest.readuntil(separator)

    async def readexactly(self, n: int) -> bytes:
        """Read so many bytes of what comes after the head."""
        return await self._rest.readexactly(n)


@contextmanager
def echo_in_a_thread() -> Iterator[TokenEcho]:
    """Serve until the block ends."""
    echo, loop, ready = TokenEcho(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(echo.handle, "127.0.0.1", 0)
        echo.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(START_SECONDS)
    yield echo
    loop.call_soon_threadsafe(stopped.set)
    thread.join(START_SECONDS)
    loop.close()
