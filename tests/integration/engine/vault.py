"""Credentials for the engine's tests, a server that gives back what it is sent, and a look at all that is stored."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson
from redis import Redis
from sqlalchemy import inspect, text

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.security.encryption import key_ring
from app.db.session import transaction
from app.engine.credentials.kinds import KINDS
from app.engine.credentials.store import bound_to
from app.models import Credential
from tests.integration.engine.world import World

LOOPBACK = ("127.0.0.1",)


def keep(
    world: World,
    name: str,
    kind: str,
    data: dict[str, object],
    hosts: Sequence[str] = LOOPBACK,
    owner_id: str | None = None,
) -> str:
    """Keep a credential of the world's owner, or of somebody else; returns its id."""
    credential_id, owner_id, now = new_id(), owner_id or world.owner_id, SystemClock().now()
    plain = orjson.dumps(KINDS[kind].model_validate(data).model_dump(exclude_none=True))
    sealed = key_ring(world.settings).seal(plain, bound_to(credential_id, owner_id))
    with transaction(world.engine) as session:
        session.add(
            Credential(
                id=credential_id,
                owner_id=owner_id,
                name=name,
                kind=kind,
                ciphertext=sealed.ciphertext,
                key_id=sealed.key_id,
                allowed_hosts=[*hosts],
                created_by=owner_id,
                created_at=now,
                updated_at=now,
            )
        )
    return credential_id


@dataclass
class Echo:
    """Gives back what it is sent, in many clothes."""

    status: int = 200
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)  # fmt: skip
        request = head + await reader.readexactly(size)
        self.requests.append(request)
        writer.write(self.answer(request))
        await writer.drain()
        writer.close()

    def answer(self, request: bytes) -> bytes:
        """Return what a request is answered with."""
        said = request.decode()
        body = orjson.dumps(
            {
                "plain": said,
                "json": orjson.dumps(said).decode(),
                "base64": [base64.b64encode(b"." * n + request).decode() for n in range(3)],
                "url": [quote(said), quote(said, safe="")],
                "hex": request.hex(),
                said: 1,
            }
        )
        told = " ".join(said.split())
        return f"HTTP/1.1 {self.status} {told}\r\nX-Told: {told}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body  # fmt: skip


@asynccontextmanager
async def echoing(status: int = 200) -> AsyncIterator[Echo]:
    """Serve until the block ends."""
    echo = Echo(status)
    server = await asyncio.start_server(echo.handle, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        yield echo
    finally:
        server.close()


def all_that_is_stored(world: World | Container) -> Iterator[str]:
    """Yield every value of every table, and of Redis."""
    with world.engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            for row in connection.execute(text(f"SELECT * FROM {table}")):
                yield f"{table}: {row}"
    assert world.settings.redis_url is not None
    with Redis.from_url(world.settings.redis_url) as redis:
        for key in redis.scan_iter():
            yield f"{key!r}: {_value(redis, key)!r}"


def _value(redis: Any, key: bytes) -> object:
    match redis.type(key):
        case b"string":
            return _unpacked(redis.get(key))
        case b"hash":
            return {name: _unpacked(value) for name, value in redis.hgetall(key).items()}
        case b"list":
            return redis.lrange(key, 0, -1)
        case b"set":
            return redis.smembers(key)
        case b"zset":
            return redis.zrange(key, 0, -1)
        case _:
            return None


def _unpacked(value: bytes) -> bytes:
    return gzip.decompress(value) if value.startswith(b"\x1f\x8b") else value


def slips(world: World | Container, *canaries: str) -> list[str]:
    """Return what is stored that holds one of the secrets, in any of the clothes in which it is likely to go."""
    forms = {form for canary in canaries for form in _forms(canary)}
    return [said[:300] for said in all_that_is_stored(world) if any(form in said for form in forms)]


def _forms(canary: str) -> Iterator[str]:
    yield from (canary, canary.upper(), canary.encode().hex(), quote(canary, safe=""))
    for before in range(3):
        yield base64.b64encode(b"." * before + canary.encode()).decode()[4:-4]
