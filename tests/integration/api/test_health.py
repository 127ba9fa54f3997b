"""What load balancers and operators are told."""

from pathlib import Path

import httpx
import pytest

from app.api.application import create_app
from app.api.container import Container
from app.core.config import Settings
from app.core.errors import ConfigurationError
from tests.integration.api.conftest import client_of, running


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_a_process_that_answers_is_alive(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)

    assert answer.json() == {"status": "ok", "version": "0.1.0"}


async def test_it_is_ready_with_database_schema_and_redis(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "redis": "ok", "schema": "ok"}


async def test_without_redis_it_serves_on(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with running(away) as app, client_of(app) as http:
        answer = await http.get("/health/ready")

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["redis"]) == ("degraded", "unreachable")


async def test_an_outdated_schema_is_not_ready(
    http: httpx.AsyncClient, container: Container
) -> None:
    with container.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")

    answer = await http.get("/health/ready")

    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["schema"]) == ("unavailable", "outdated")


async def test_without_its_database_it_is_not_ready_and_requests_say_so(
    settings: Settings,
) -> None:
    gone = "postgresql://nobody:x@127.0.0.1:1/nothing"
    async with (
        running(settings.model_copy(update={"database_url": gone})) as app,
        client_of(app) as http,
    ):
        ready = await http.get("/health/ready")
        request = await http.post(
            "/api/v1/register", json={"email": "a@example.com", "password": "long enough"}
        )

    assert (ready.status_code, ready.json()["database"]) == (503, "unreachable")
    assert ready.json()["schema"] == "unknown"
    assert (request.status_code, request.json()["code"]) == (503, "unavailable")
    assert request.headers["retry-after"] == "2"
    assert "nobody" not in request.text


@pytest.mark.parametrize("name", ["database_url", "redis_url", "secret_key"])
async def test_a_missing_setting_is_named_at_start(settings: Settings, name: str) -> None:
    app = create_app(settings.model_copy(update={name: None, "data_dir": Path("/nowhere")}))

    with pytest.raises(ConfigurationError, match=name.upper()):
        async with app.router.lifespan_context(app):
            pass


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_a_load_balancer_may_ask_for_the_head_alone(
    http: httpx.AsyncClient, path: str
) -> None:
    assert (await http.head(path)).status_code == 200
