"""A real server: what is refused does not cost the connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from app.api.application import create_app
from app.core.config import Settings

START_SECONDS = 10


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def _server(settings: Settings) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, lifespan="on", http="httptools")
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    await asyncio.wait_for(server.ready.wait(), START_SECONDS)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def test_the_next_request_on_the_connection_works(settings: Settings) -> None:
    json = {"content-type": "application/json"}
    large = b"[" + b"1," * 1_500_000 + b"1]"

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    bodies: list[tuple[bytes | AsyncIterator[bytes], int]] = [
        (large, 413),
        (in_chunks(), 413),
        (b"[" * 5000, 400),
        (b'{"a": "\\u0000"}', 400),
        (b"{}", 422),
    ]
    limits = httpx.Limits(max_connections=1)
    opened: list[str] = []

    async def trace(event: str, _: object) -> None:
        if event == "connection.connect_tcp.started":
            opened.append(event)

    async with (
        _server(settings) as address,
        httpx.AsyncClient(base_url=address, limits=limits) as http,
    ):
        for body, status in bodies:
            answer = await http.post(
                "/api/v1/register", content=body, headers=json, extensions={"trace": trace}
            )
            alive = await http.get("/health", extensions={"trace": trace})

            assert (answer.status_code, alive.status_code) == (status, 200)

    assert len(opened) == 1
