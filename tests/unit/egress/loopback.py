"""Small scripted servers on 127.0.0.1, and a network that never sends a packet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(status: int = 200, body: bytes = b"", headers: str = "") -> bytes:
    """Return a response as bytes; `headers` are whole lines, each ended by CRLF."""
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Loopback:
    """A server that gives the same answers in turn, the last one for ever, and keeps what it was sent."""

    answers: list[bytes | Answer]
    requests: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    port: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while request := await _read_request(reader):
                self.requests.append(request)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        except (ConnectionError, asyncio.CancelledError):  # the latter from `end` alone
            pass
        finally:
            writer.close()
            self.closed.set()
            self.serving.discard(task)

    async def end(self) -> None:
        """Close the connections that clients keep for later: nobody may be left waiting when the loop is gone."""
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


@asynccontextmanager
async def serve(*answers: bytes | Answer, **options: Any) -> AsyncIterator[Loopback]:
    """Serve until the block ends; `options` go to `asyncio.start_server`."""
    loopback = Loopback(list(answers))
    server = await asyncio.start_server(loopback.handle, "127.0.0.1", 0, **options)
    loopback.port = server.sockets[0].getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()
        await loopback.end()


class NoNetwork(httpcore.AsyncNetworkBackend):
    """Records where a connection would have gone, and refuses, or keeps silent."""

    def __init__(self, silent: tuple[str, ...] = ()) -> None:
        self.silent = silent
        self.targets: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del local_address, socket_options
        self.targets.append((host, port))
        if host in self.silent:
            await asyncio.sleep(timeout or 0)
            raise httpcore.ConnectTimeout
        raise httpcore.ConnectError("refused")


@dataclass
class Names:
    """A resolver that knows the given names; a list of lists is answered in turn."""

    known: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host not in self.known:
            raise OSError("unknown")
        return self.known[host]
