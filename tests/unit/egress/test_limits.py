"""Deadline, size, compression, headers, and TLS by name."""

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from tests.unit.egress.loopback import Names, reply, serve

MIB = 1024 * 1024


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(build_policy(["127.0.0.1"])) as client:
        yield client


async def drip(writer: asyncio.StreamWriter, start: bytes) -> None:
    """Send a byte now and then, for ever."""
    writer.write(start)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_body(writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 200 OK\r\nX-Slow: ")


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


@pytest.mark.parametrize("answer", [drip_body, drip_headers, stay_silent])
async def test_a_slow_answer_ends_at_the_total_deadline(
    client: httpx.AsyncClient, answer: object
) -> None:
    loop = asyncio.get_running_loop()
    async with serve(answer) as server:  # type: ignore[arg-type]
        started = loop.time()
        with pytest.raises(httpx.ReadTimeout, match=r"within 0\.2 seconds in all"):
            await client.get(server.url(), timeout=5, extensions={"total_seconds": 0.2})

    assert 0.15 < loop.time() - started < 0.8


async def test_redirects_share_one_deadline(client: httpx.AsyncClient) -> None:
    async def redirect_late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)
        writer.write(reply(302, headers="Location: /next\r\n"))

    async with serve(redirect_late) as server:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url(), follow_redirects=True, extensions={"total_seconds": 1.0})

    assert len(server.requests) == 2


async def test_the_pool_is_usable_after_calls_that_timed_out(client: httpx.AsyncClient) -> None:
    async with serve(stay_silent, reply(body=b"ok")) as server:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url(), extensions={"total_seconds": 0.05})
        response = await client.get(server.url())

    assert response.content == b"ok"


async def test_a_body_larger_than_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    async with serve(reply(body=b"x" * 2_000)) as server:
        with pytest.raises(httpx.DecodingError, match="larger than 1000 bytes"):
            await client.get(server.url(), extensions={"max_response_bytes": 1_000})
        allowed = await client.get(server.url(), extensions={"max_response_bytes": 2_000})

    assert len(allowed.content) == 2_000


def bomb(layers: int, encoding: str) -> bytes:
    """Return a small response that holds 200 MiB."""
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join(packer.compress(bytes(MIB)) for _ in range(200)) + packer.flush()
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return reply(body=body, headers=f"Content-Encoding: {encoding}\r\n")


@pytest.mark.parametrize(("layers", "encoding"), [(1, "gzip"), (2, "gzip, gzip")])
async def test_a_compression_bomb_leaves_memory_flat(
    client: httpx.AsyncClient, layers: int, encoding: str
) -> None:
    async with serve(bomb(layers, encoding)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(httpx.DecodingError):
                await client.get(server.url(), extensions={"max_response_bytes": MIB})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 8 * MIB


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
async def test_a_compressed_body_is_read(
    client: httpx.AsyncClient, encoding: str, pack: object
) -> None:
    body = bytes(range(256)) * 2_000
    packed = pack(body)  # type: ignore[operator]
    async with serve(reply(body=packed, headers=f"Content-Encoding: {encoding}\r\n")) as server:
        response = await client.get(server.url())

    assert response.content == body
    assert b"Accept-Encoding: gzip, deflate\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("br", b"xx", "only one of gzip, deflate is read"),
        ("gzip, deflate", b"xx", "only one of"),
        ("gzip", b"no gzip", "damaged"),
        ("deflate", b"no deflate", "damaged"),
        ("gzip", gzip.compress(b"x" * 1_000, mtime=0)[:-10], "ended early"),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_an_error(
    client: httpx.AsyncClient, encoding: str, body: bytes, message: str
) -> None:
    async with serve(reply(body=body, headers=f"Content-Encoding: {encoding}\r\n")) as server:
        with pytest.raises(httpx.DecodingError, match=message):
            await client.get(server.url())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_empty_body_needs_no_decoding(client: httpx.AsyncClient, method: str) -> None:
    async with serve(reply(headers="Content-Encoding: gzip\r\n")) as server:
        response = await client.request(method, server.url())

    assert response.content == b""


async def test_endless_headers_are_refused(client: httpx.AsyncClient) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X-Filler: " + b"x" * 1_000 + b"\r\n")
            await writer.drain()

    async with serve(flood) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url())


def make_certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate's file, and a server context that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "server.pem"
    file.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


async def test_tls_is_checked_by_host_name_though_an_address_is_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, context = make_certificate(tmp_path, "good.test")
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    names = Names({"good.test": ["127.0.0.1"], "evil.test": ["127.0.0.1"]})
    policy = build_policy(["good.test", "evil.test"])

    async with (
        serve(reply(body=b"ok"), ssl=context) as server,
        build_client(policy, resolve=names) as client,
    ):
        good = await client.get(server.url("good.test").replace("http:", "https:"))
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(server.url("evil.test").replace("http:", "https:"))

    assert good.content == b"ok"
    assert asked == ["good.test", "evil.test"]
    assert f"Host: good.test:{server.port}".encode() in server.requests[0]


async def test_a_tls_handshake_that_hangs_is_closed_at_the_deadline(
    client: httpx.AsyncClient,
) -> None:
    closed = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass
        writer.close()
        closed.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"https://127.0.0.1:{port}/", extensions={"total_seconds": 0.1})
    await asyncio.wait_for(closed.wait(), 5)
    server.close()
