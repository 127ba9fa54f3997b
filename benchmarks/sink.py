"""A sink for HTTP steps: it answers every request at once, except those to /held, which wait until /release is asked.

Every answer is the number of requests that are held. Run as a module, in a process of its own, it prints its port.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import httpx
import uvloop

HEAD_END = b"\r\n\r\n"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
LENGTH = b"content-length:"


class Sink(asyncio.Protocol):
    """One connection: takes requests one after the other."""

    held: set["Sink"] = set()

    def __init__(self, on_request: Callable[[], None]) -> None:
        self._on_request = on_request
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def connection_lost(self, error: Exception | None) -> None:
        """Forget who hung up."""
        del error
        self._transport = None
        self.held.discard(self)

    def data_received(self, data: bytes) -> None:
        """Collect a request until it is whole, then answer or hold it."""
        self._received += data
        path = whole_request(self._received)
        if path is None:
            return
        self._received = b""
        self._on_request()
        if path == b"/held":
            self.held.add(self)
            return
        if path == b"/release":
            released = list(self.held)
            self.held.clear()
            for waiting in released:
                waiting.answer()
        self.answer()

    def answer(self) -> None:
        """Answer the request."""
        if self._transport is not None:
            body = str(len(self.held))
            self._transport.write(f"{HEAD.format(length=len(body))}{body}".encode())


def whole_request(received: bytes) -> bytes | None:
    """Return the path of a request that has arrived with all its body, else None."""
    end = received.find(HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(LENGTH)
    length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return head.split(b" ", 2)[1] if len(received) >= end + len(HEAD_END) + length else None


async def open_sink(on_request: Callable[[], None]) -> tuple[asyncio.Server, str]:
    """Listen on a free port; returns the server and its address."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Sink(on_request), "127.0.0.1", 0
    )
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def sink() -> Iterator[str]:
    """Run a sink in a process of its own; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


def holding(address: str) -> int:
    """Return how many requests a sink holds."""
    return int(httpx.get(address).text)


def release(address: str) -> None:
    """Let a sink answer everything that it holds."""
    httpx.post(f"{address}/release").raise_for_status()


async def _serve() -> None:
    server, address = await open_sink(lambda: None)
    print(address, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
