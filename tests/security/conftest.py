"""The API and a worker in this process, on either database, with a real Redis: the platform as an attacker meets it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.config import Settings
from app.engine.delivery.process import WorkerProcess
from tests.integration.api.conftest import (
    KEY,
    Caller,
    Sign,
    _cheap_passwords,
    ada,
    app,
    container,
    http,
    sign_up,
)
from tests.integration.engine.conftest import _one_ssl_context
from tests.unit.egress.test_client import names, network

__all__ = [
    "_cheap_passwords",
    "_one_ssl_context",
    "ada",
    "app",
    "container",
    "http",
    "names",
    "network",
    "sign_up",
]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """As delivered: whatever is not set here is a default."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        secret_key=KEY,
        data_dir=tmp_path,
    )


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[WorkerProcess]:
    process = WorkerProcess(settings)
    process.begin()
    yield process
    await process.end()


@pytest.fixture
async def bob(ada: Caller, sign_up: Sign) -> Caller:
    """A member who must see nothing of Ada's; she, who was first, is admin."""
    assert ada.email != "bob@example.com"
    return await sign_up("bob@example.com")
