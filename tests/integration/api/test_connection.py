"""A real server: what is refused does not cost the connection, unless it is slow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.requests import Request

from app.api import slow_clients
from app.api.application import create_app
from app.core.config import Settings

PATIENCE_SECONDS = 10
HEAD_DEADLINE = "app.api.slow_clients:HeadDeadline"


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
    config = uvicorn.Config(
        create_app(settings), log_config=None, lifespan="on", http=HEAD_DEADLINE
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    await asyncio.wait_for(server.ready.wait(), PATIENCE_SECONDS)
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


REQUEST = b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nhost: te"])
async def test_who_is_slow_with_the_first_head_is_cut_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.2)

    async with _server(settings) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(begun)
        heard = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()

    assert heard.startswith(b"HTTP/1.1 408 Request Timeout")


@pytest.mark.parametrize("begun", [b"\r\n", b"GET /"])
async def test_who_is_slow_with_the_next_head_is_cut_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.2)

    async with _server(settings) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(REQUEST)
        served = await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE_SECONDS)
        writer.write(begun)
        heard = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()

    assert served.startswith(b"HTTP/1.1 200")
    assert heard.startswith(b"HTTP/1.1 408 Request Timeout")


async def test_who_is_slow_with_the_body_is_told_and_cut_off(settings: Settings) -> None:
    hasty = settings.model_copy(update={"request_timeout_seconds": 0.2})
    head = b"POST /api/v1/register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"

    async with _server(hasty) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(head + b"content-length: 1000\r\n\r\n{")
        heard = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()

    assert heard.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in heard


@pytest.mark.parametrize(("trusted", "scheme"), [((), "http"), (("127.0.0.0/8",), "https")])
async def test_only_a_trusted_proxy_says_where_a_request_comes_from(
    settings: Settings, trusted: tuple[str, ...], scheme: str
) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": trusted}))
    seen: list[tuple[str, str]] = []

    @app.get("/where")
    async def where(request: Request) -> None:
        seen.append((request.url.scheme, request.client.host if request.client else ""))

    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        await http.get("/where", headers=forwarded)

    assert seen == [(scheme, "203.0.113.7" if trusted else "127.0.0.1")]
