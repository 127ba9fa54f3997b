"""The platform works with the least that compose gives it: a login that owns no table, and one Redis user with its own keys."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.db.base import make_engine
from app.db.migrate import prepare
from app.embedded.redis import EmbeddedRedis
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

COMPOSE = Path(__file__).resolve().parents[3] / "docker-compose.yml"
USER, PASSWORD = "automateos", "hunter2hunter2"
LOG = {"type": "log", "config": {"message": "hello"}}


@pytest.fixture
def redis() -> Iterator[EmbeddedRedis]:
    with tempfile.TemporaryDirectory(prefix="automateos-acl-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedRedis(Path(folder) / "redis") as redis:
            yield redis


@pytest.fixture
def confined_redis_url(redis: EmbeddedRedis) -> str:
    """An address whose user may do what the compose file says."""
    (rules,) = re.findall(rf"user {USER} on >\S+ (.+)", COMPOSE.read_text())
    with Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rules.split())
    return redis.url.replace("unix://", f"unix://{USER}:{PASSWORD}@")


@pytest.fixture
def login_url(postgres_url: str) -> Iterator[str]:
    url = make_url(postgres_url)
    name = (url.database or "").replace("test_", "app_")
    login = url.set(username=name, password=PASSWORD).render_as_string(hide_password=False)
    prepare(login, postgres_url)
    yield login
    owner = make_engine(postgres_url)
    with owner.begin() as connection:
        connection.execute(text(f'DROP ROLE "{name}"'))
    owner.dispose()


@pytest.fixture
def platform(
    folder: Path, postgres_url: str, login_url: str, confined_redis_url: str, sink: Sink
) -> Iterator[Platform]:
    platform = Platform(folder, postgres_url, confined_redis_url, DATABASE_URL=login_url)
    platform.sink = sink
    try:
        platform.worker()
        platform.api()
        yield platform
    finally:
        platform.stop()


def test_runs_complete_and_are_read(platform: Platform, redis: EmbeddedRedis) -> None:
    platform.log_in()
    workflow = platform.workflow(LOG, {**LOG, "id": "again"})
    schedule = {"cron": "@daily"}
    assert platform.http.post(f"/workflows/{workflow.id}/schedules", json=schedule).is_success

    platform.trigger_many(workflow, 3)

    platform.until(lambda: _ended(platform) == 3)
    newest = platform.http.get("/runs").json()["items"][0]["id"]
    for what in ("", "/logs", "/evidence", "/evidence/bundle", "/steps/again/attempts"):
        assert platform.http.get(f"/runs/{newest}{what}").is_success, what
    assert platform.http.get("/admin/status").is_success
    with Redis.from_url(redis.url) as client:
        assert client.acl_log() == []


@pytest.mark.parametrize(
    "forbidden", ["FLUSHALL", "KEYS *", "CONFIG GET *", "GET other", "ACL LIST"]
)
def test_redis_refuses_everything_else(confined_redis_url: str, forbidden: str) -> None:
    with Redis.from_url(confined_redis_url) as client, pytest.raises(NoPermissionError):
        client.execute_command(*forbidden.split())


def _ended(platform: Platform) -> int:
    return platform.database.count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
