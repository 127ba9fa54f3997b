"""The API in this process, on either database, with a real Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api.application import create_app
from app.api.container import Container
from app.core.config import Settings
from app.core.security import passwords
from app.engine.delivery.process import WorkerProcess

KEY = "a secret key that is long enough for a test"
PASSWORD = "correct horse battery"
CFO = "cfo@example.com"
LOG_STEP = {"type": "log", "config": {"message": "Hello"}}
DEFINITION: dict[str, Any] = {"steps": [LOG_STEP]}


@dataclass(frozen=True)
class Caller:
    """Somebody who is logged in."""

    http: httpx.AsyncClient
    email: str
    headers: dict[str, str]

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return await self.http.request(method, f"/api/v1{path}", headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, json=body, **options)

    async def save(self, **fields: Any) -> dict[str, Any]:
        """Save a workflow that is all right."""
        answer = await self.post("/workflows", {"name": "Test", "definition": DEFINITION} | fields)
        assert answer.status_code == 201, answer.text
        saved: dict[str, Any] = answer.json()
        return saved


Sign = Callable[[str], Awaitable[Caller]]


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash at next to no cost: each test registers and logs in. The real parameters are tests/unit/api/test_passwords.py's."""
    cheap = passwords._HASHER.using(memory_cost=64, time_cost=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)
    monkeypatch.setattr(passwords, "_NOBODY", cheap.hash(""))


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        secret_key=KEY,
        data_dir=tmp_path,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with running(settings) as app:
        yield app


@pytest.fixture
def container(app: FastAPI) -> Container:
    container: Container = app.state.container
    return container


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
def sign_up(http: httpx.AsyncClient) -> Sign:
    async def sign_up(email: str) -> Caller:
        account = {"email": email, "password": PASSWORD}
        assert (await http.post("/api/v1/register", json=account)).status_code == 201
        return Caller(http, email, await log_in(http, email))

    return sign_up


@pytest.fixture
async def ada(sign_up: Sign) -> Caller:
    return await sign_up("ada@example.com")


@pytest.fixture
async def cfo(ada: Caller, sign_up: Sign) -> Caller:
    """An approver with an account; `ada`, who was first, is admin and owns the workflows."""
    assert ada.email != CFO
    return await sign_up(CFO)


@cache
def _first_app() -> FastAPI:
    return create_app(Settings(_env_file=None))


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Serve with an application that takes over the routes of the process's first one.

    FastAPI works them out when they are first called, which takes longer than a test.
    """
    app = create_app(settings)
    app.router.routes[:] = _first_app().router.routes
    app.dependency_overrides = _first_app().dependency_overrides
    async with app.router.lifespan_context(app):
        yield app
    app.dependency_overrides.clear()


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
    )


async def log_in(http: httpx.AsyncClient, email: str, password: str = PASSWORD) -> dict[str, str]:
    answer = await http.post("/api/v1/login", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[None]:
    """A worker drives the runs while the test lasts."""
    process = WorkerProcess(settings)
    process.begin()
    yield
    await process.end()
