"""Real servers for the tests: one embedded Postgres and Redis for the whole session, cloned and emptied per test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import hypothesis
import psycopg2
import pytest
import structlog
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from redis import Redis
from sqlalchemy.engine import make_url

from app.db.migrate import upgrade
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.redis import EmbeddedRedis
from app.engine import registry
from tests.databases import TEMPLATE, Databases

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    # A clone costs a quarter when nobody could want to replay it, and nothing else looks through hundreds of them.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "jit": "off",
}


@dataclass(frozen=True)
class Servers:
    """Where the session's servers listen, and a migrated SQLite file to copy."""

    postgres: str
    redis: str
    sqlite: str


class _Session:
    """Starts the servers in the process that owns the session, and stops them at its end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="automateos-tests-"))
        self.folder.chmod(0o711)
        self.postgres = EmbeddedPostgres(self.folder / "postgres", options=FAST)
        self.redis = EmbeddedRedis(self.folder / "redis")
        url = self.postgres.start()
        sqlite = self.folder / "template.db"
        template = make_url(url).set(database=TEMPLATE).render_as_string(hide_password=False)
        _administer(url, f'CREATE DATABASE "{TEMPLATE}"')
        upgrade(template)
        upgrade(f"sqlite:///{sqlite}")
        self.servers = Servers(url, self.redis.start(), str(sqlite))

    def stop(self) -> None:
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


_SESSION = pytest.StashKey[_Session]()


def pytest_configure(config: pytest.Config) -> None:
    """Look at the same generated cases in every run of the test command, so that it says something of the change alone.

    `test --long` draws new ones.
    """
    _log_plain_tracebacks()
    _look_up_packages_once()
    hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
    if "not long" in config.getoption("markexpr"):
        hypothesis.settings.load_profile("steady")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_SESSION] = _Session()


def pytest_sessionfinish(session: pytest.Session) -> None:
    started = session.config.stash.get(_SESSION, None)
    if started is not None:
        started.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    servers = node.config.stash[_SESSION].servers
    node.workerinput.update(postgres=servers.postgres, redis=servers.redis, sqlite=servers.sqlite)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    given = getattr(request.config, "workerinput", None)
    if given is None:
        return request.config.stash[_SESSION].servers
    return Servers(given["postgres"], given["redis"], given["sqlite"])


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[Databases]:
    """The databases of this test process."""
    with closing(Databases(servers.postgres)) as databases:
        yield databases


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """A migrated, empty Postgres database of the test's own."""
    with databases.lend() as url:
        yield url


@pytest.fixture(scope="module")
def shared_postgres_url(databases: Databases) -> Iterator[str]:
    """A migrated, empty Postgres database for the tests of a module, which leave it as they find it."""
    with databases.lend() as url:
        yield url


@pytest.fixture
def sqlite_url(servers: Servers, tmp_path: Path) -> str:
    """A migrated, empty SQLite file of the test's own."""
    path = tmp_path / "test.db"
    shutil.copy(servers.sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["postgres", "sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both databases, one after the other."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def redis_url(servers: Servers, worker_id: str) -> str:
    """An empty Redis database, one per test process."""
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id != "master" else 0
    url = servers.redis.partition("?")[0] + f"?db={number}"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


def _log_plain_tracebacks() -> None:
    """Do without local values in tracebacks, as the product does: large ones take most of a minute to lay out."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


def _look_up_packages_once() -> None:
    """Remember what is installed: redis-py looks it up for each connection, the catalogue for each application."""
    metadata.version = cache(metadata.version)
    vars(registry)["entry_points"] = cache(metadata.entry_points)


def _administer(url: str, sql: str) -> None:
    connection = psycopg2.connect(url)
    connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()
