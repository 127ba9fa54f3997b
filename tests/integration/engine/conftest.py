"""A platform without HTTP: a real database, Redis, a trigger desk, and a worker on the test's own loop."""

from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import Role
from app.db.base import make_engine
from app.engine.delivery.dispatch import BackgroundDispatch, Dispatcher, connect_redis
from app.engine.delivery.process import WorkerProcess
from app.engine.registry import load_catalogue
from app.models import User
from tests.integration.engine.publisher import Publisher
from tests.integration.engine.world import KEY, World, desk_of

_trusted = cache(httpx.create_ssl_context)


@pytest.fixture(autouse=True)
def _one_ssl_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the trusted certificates once a process, not for each worker: it takes longer than most runs."""
    monkeypatch.setattr(httpx, "create_ssl_context", _trusted)


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        secret_key=KEY,
        data_dir=tmp_path,
        egress_allow=("127.0.0.0/8",),
        lease_seconds=2,
        shutdown_seconds=2,
    )


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    assert settings.database_url is not None
    assert settings.redis_url is not None
    engine = make_engine(settings.database_url)
    redis = connect_redis(settings.redis_url)
    dispatch = BackgroundDispatch(Dispatcher(redis))
    desk = desk_of(engine, load_catalogue(settings.plugins_dir), dispatch)
    owner_id = new_id()
    with Session(engine) as session:
        session.add(
            User(
                id=owner_id,
                email="owner@example.com",
                password_hash="",
                role=Role.ADMIN,
                created_at=SystemClock().now(),
            )
        )
        session.commit()
    yield World(engine, desk, owner_id, settings)
    await desk.close()
    await dispatch.close()
    redis.close()
    engine.dispose()


@pytest.fixture
async def worker(world: World) -> AsyncIterator[WorkerProcess]:
    process = WorkerProcess(world.settings)
    process.begin()
    yield process
    await process.end()


@pytest.fixture
async def begin(world: World) -> AsyncIterator[Callable[[], WorkerProcess]]:
    """Start a worker whenever the test says so."""
    started: list[WorkerProcess] = []

    def begin() -> WorkerProcess:
        process = WorkerProcess(world.settings)
        process.begin()
        started.append(process)
        return process

    yield begin
    for process in started:
        if not process._stopping.is_set():
            await process.end()


@pytest.fixture
async def publish(world: World) -> AsyncIterator[Publisher]:
    assert world.settings.redis_url is not None
    redis = connect_redis(world.settings.redis_url)
    dispatch = BackgroundDispatch(Dispatcher(redis))
    publisher = Publisher(world, dispatch)
    yield publisher
    await publisher.close()
    await dispatch.close()
    redis.close()
