"""Connections to Postgres or SQLite, set up so that both keep the same promises."""

import time
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.errors import ConfigurationError
from app.db.round_trips import RoundTripConnection

if TYPE_CHECKING:
    import sqlite3  # loaded by SQLAlchemy where it is used: nobody else is to pay for it

CONNECT_TIMEOUT_SECONDS = 5
PING_AFTER_SECONDS = 1.0
SQLITE_BUSY_SECONDS = 15
READS_ONLY = "reads_only"
"""The option of a connection that will not write."""
SQLITE_VERSION = (3, 38)


def database_url(text: str) -> URL:
    """Return the SQLAlchemy address for what an operator wrote in DATABASE_URL.

    Raises:
        ConfigurationError: when it is no address of a database that is supported.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigurationError(
            "DATABASE_URL is no database address: write postgresql://user:password@host/name or sqlite:///file.db."
        ) from None
    backend = url.get_backend_name()
    if backend in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg2")
    if backend == "sqlite" and url.database not in {None, "", ":memory:"}:
        return url
    raise ConfigurationError(
        f"DATABASE_URL names {backend}: write postgresql://user:password@host/name or sqlite:///file.db."
    )


def make_engine(text: str, *, pool_size: int = 10) -> Engine:
    """Return an engine for DATABASE_URL; connects at the first use.

    Raises:
        ConfigurationError: when it is no address of a database that is supported.
    """
    url = database_url(text)
    # Parameters hold users' data and password hashes: they have no place in the text of an exception.
    options: dict[str, Any] = {
        "json_serializer": _dumps,
        "json_deserializer": _loads,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url, connect_args={"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None}, **options
        )
        sqlite: Any = engine.dialect.loaded_dbapi
        if sqlite.sqlite_version_info < SQLITE_VERSION:
            raise ConfigurationError(
                f"SQLite {sqlite.sqlite_version} is too old (3.38 is needed): unset DATABASE_URL to use the embedded Postgres."
            )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": "automateos",
            "options": "-c timezone=UTC",
            # A server that is cut off must be noticed: without these, a half-open connection hangs for ever.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "connection_factory": RoundTripConnection,
        },
        use_native_hstore=False,  # it asks each new connection for a type that we do not use
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        **options,
    )
    _ping_after_idling(engine)
    return engine


def _ping_after_idling(engine: Engine) -> None:
    """Ask whether a connection still lives before it is used again, unless it was used just now.

    `pool_pre_ping` asks each time: a round trip in every transaction.
    """

    def note(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    def ask(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        idle_since = entry.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < PING_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError(str(error)) from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", ask)


def _loads(stored: str | int | float) -> Any:
    """Read a JSON column. SQLite has turned the text of a bare number into that number."""
    return orjson.loads(stored) if isinstance(stored, str) else stored


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: "sqlite3.Connection", _: ConnectionPoolEntry) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails when another wrote in between; writers must queue.
    if not connection.get_execution_options().get(READS_ONLY):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
