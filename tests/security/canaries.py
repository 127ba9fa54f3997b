"""Secrets that must be seen nowhere, the clothes in which they might go, and a look into everything that is kept."""

import base64
import gzip
import hashlib
import json
import threading
import zlib
from codecs import escape_decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, quote_plus

from redis import Redis
from sqlalchemy import create_engine, inspect, text

from app.db.base import database_url

SHORTEST = 10
"""Of a secret that was cut into two: a piece as long as this gives it away."""
PACKED = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b\x08")


def canary(name: str) -> str:
    """Return a secret of its own for each name, with what URLs, JSON and base64 write in other ways."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"Cn+{digest[:16]}/&={digest[16:32]}"


def forms_of(secret: str) -> frozenset[bytes]:
    """Return a secret, its halves, and what encodings that are common make of it, wherever in a text it stands."""
    half = len(secret) // 2
    pieces = {secret, secret[half:], secret[:half]} if half >= SHORTEST else {secret}
    written = {way(secret) for way in (str, str.upper, quote, quote_plus, json.dumps)}
    written |= {quote(secret, safe=""), secret.encode().hex(), secret.encode().hex().upper()}
    for before in range(3):
        raw = b"." * before + secret.encode()
        for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            written.add(encoded.decode()[4:-4])
    return frozenset(form.strip('"').encode() for form in pieces | written)


@dataclass
class Search:
    """Looks for secrets, each under its name, and remembers where it found one."""

    forms: dict[str, frozenset[bytes]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    looked_at: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, secret: str) -> str:
        """Look for a secret from now on; returns it."""
        self.forms[name] = forms_of(secret)
        return secret

    def look(self, place: str, said: bytes | str, but: frozenset[str] = frozenset()) -> None:
        """Search one thing, and what is compressed in it; `but` are the secrets that it shows on purpose."""
        raw = said.encode("utf-8", "surrogatepass") if isinstance(said, str) else said
        self.looked_at[place] = self.looked_at.get(place, 0) + len(raw)
        opened = [*unpacked(raw)]
        for name, forms in self.forms.items():
            for form in () if name in but else forms:
                around = next((_around(one, form) for one in opened if form in one), None)
                if around is not None:
                    self.found.append(f"{name} in {place}: {around!r}")
                    break


def _around(raw: bytes, form: bytes) -> bytes:
    at = raw.find(form)
    return raw[max(0, at - 80) : at + len(form) + 40]


def unpacked(raw: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and whatever in them zlib or gzip has compressed."""
    yield raw
    for mark in PACKED:
        start = raw.find(mark)
        while start >= 0:
            opened = _opened(raw[start:])
            if opened:
                yield opened
            start = raw.find(mark, start + 1)


def _opened(raw: bytes) -> bytes:
    try:
        return (
            gzip.decompress(raw)
            if raw.startswith(b"\x1f")
            else zlib.decompressobj().decompress(raw)
        )
    except (OSError, EOFError, zlib.error):
        return b""


def rows_of(url: str) -> Iterator[tuple[str, str]]:
    """Yield every row of every table, as text, with the name of its table."""
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        on_postgres = engine.dialect.name == "postgresql"
        for table in inspect(connection).get_table_names():
            columns = f'CAST(t AS text) FROM "{table}" t' if on_postgres else f'* FROM "{table}"'
            for row in connection.execute(text(f"SELECT {columns}")):
                yield table, str(row)
    engine.dispose()


def kept_in_redis(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield every key with its value, whatever its type, as Redis itself would write it into a file."""
    readers: Mapping[bytes, Any] = {
        b"string": Redis.get,
        b"hash": Redis.hgetall,
        b"list": lambda redis, key: redis.lrange(key, 0, -1),
        b"set": Redis.smembers,
        b"zset": lambda redis, key: redis.zrange(key, 0, -1, withscores=True),
        b"stream": lambda redis, key: redis.xrange(key),
    }
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            value = readers[redis.type(key)](redis, key)
            for part in _parts(value):
                yield key.decode("utf-8", "replace"), key + b" " + part


def _parts(value: Any) -> Iterator[bytes]:
    match value:
        case bytes():
            yield value
        case dict():
            for item in value.items():
                yield from _parts(item)
        case list() | set() | tuple():
            for item in value:
                yield from _parts(item)
        case _:
            yield str(value).encode()


class Overheard:
    """Every command that anybody gives to Redis within a block: what is deleted at once was there as well."""

    def __init__(self, url: str) -> None:
        self.said: list[bytes] = []
        self._redis = Redis.from_url(url)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._redis.echo("over")
        self._thread.join(10)
        self._redis.close()

    def _listen(self) -> None:
        with self._redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py's own
            self._ready.set()
            for told in monitor.listen():
                self.said.append(_bytes_of(told["command"]))
                if told["command"] == "ECHO over":
                    return


def _bytes_of(command: str) -> bytes:
    raw: bytes = escape_decode(command.encode("latin-1", "replace"))[0]
    return raw


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file in a folder, and in the folders in it."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()
