"""A platform of real processes on servers that may be killed, one for each test process; emptied before each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.migrate import upgrade
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.redis import EmbeddedRedis
from tests.e2e.crash.harness.invariants import (
    check_nothing_is_left,
    check_nothing_is_open,
    check_runs,
)
from tests.e2e.crash.harness.platform import NODES, Platform
from tests.e2e.crash.harness.sink import Sink
from tests.e2e.crash.harness.watch import check_rules, forget, watch

# Processes are killed, the machine is not: what the kernel has been given is safe without fsync.
POSTGRES_OPTIONS = {"fsync": "off", "shared_buffers": "32MB"}
RUNS_PER_WORKER = "1200"
"""Enough for the runs in flight of the long forms, and for the load beside them."""


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short path that the servers can reach."""
    folder = Path(tempfile.mkdtemp(prefix="automateos-crash-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder / "postgres", options=POSTGRES_OPTIONS) as postgres:
        upgrade(postgres.url)
        yield postgres


@pytest.fixture(scope="session")
def redis(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder / "redis") as redis:
        yield redis


@pytest.fixture(scope="session")
def site(folder: Path, postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> Iterator[Platform]:
    """The API, and a user who is logged in."""
    platform = Platform(
        folder,
        postgres.url,
        redis.url,
        PLUGINS_DIR=str(NODES),
        RUNS_PER_WORKER=RUNS_PER_WORKER,
    )
    watch(platform.database)
    try:
        platform.api()
        platform.log_in()
        yield platform
    finally:
        platform.stop()
    check_nothing_is_left(platform)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def platform(
    site: Platform, postgres: EmbeddedPostgres, redis: EmbeddedRedis, sink: Sink
) -> Iterator[Platform]:
    """The API with no run and no worker yet. After the test, the invariants must hold."""
    for server in (postgres, redis):
        if server.has_ended():  # a test that failed left it so
            server.start()
    site.begin_anew(sink)
    forget(site.database)
    try:
        yield site
        check_runs(site)
        check_rules(site.database)
    finally:
        site.kill_workers()
    check_nothing_is_open(site.database)
