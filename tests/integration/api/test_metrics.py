"""What Prometheus and operators are told equals what the tables say."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import text

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.config import Settings
from app.engine.delivery.process import WorkerProcess
from app.engine.metrics.shelf import Shelf
from app.engine.store import database_now
from tests.integration.api.conftest import Caller, Sign, client_of, running

PATIENCE_SECONDS = 20.0
FAILS = {"steps": [{"type": "fail", "config": {"message": "On purpose"}}]}
WAITS = {"steps": [{"type": "delay", "config": {"seconds": 3600}}]}
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def worker(container: Container) -> AsyncIterator[WorkerProcess]:
    process = WorkerProcess(container.settings)
    process.begin()
    yield process
    await process.end()


async def _scrape(http: httpx.AsyncClient) -> Found:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name.removeprefix("automateos_"), _labels(**sample.labels)): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _labels(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in labels.items() if name != "process")


async def _until(http: httpx.AsyncClient, name: str, value: float, **labels: str) -> Found:
    """Wait until a number is as it should be: workers lay theirs down every two seconds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (found := await _scrape(http)).get((name, _labels(**labels))) != value:
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.1)
    return found


async def _start(caller: Caller, definition: dict[str, Any] | None = None) -> str:
    saved = await caller.save(**({} if definition is None else {"definition": definition}))
    answer = await caller.post(f"/workflows/{saved['id']}/runs", {})
    run_id: str = answer.json()["run_id"]
    return run_id


async def test_an_idle_platform_shows_its_zeros(http: httpx.AsyncClient) -> None:
    found = await _scrape(http)

    assert found["database_up", _labels()] == 1
    assert found["queue_depth", _labels()] == 0
    assert found["runs", _labels(status="running")] == 0
    assert found["triggers_accepted_total", _labels(trigger="webhook", repeated="false")] == 0


async def test_triggers_are_counted_as_they_were_answered(
    http: httpx.AsyncClient, ada: Caller
) -> None:
    saved = await ada.save()
    url = saved["webhook_url"]

    for key in ("a", "a", "b"):
        await http.post(url, json={}, headers={"Idempotency-Key": key})
    await http.post(url.partition("?")[0], json={})
    await http.post(url, content=b"{", headers={"Content-Type": "application/json"})
    await http.post(url, content=b"x", headers={"Content-Encoding": "gzip"})
    await ada.post(f"/workflows/{saved['id']}/runs", {"version": "first"})

    found = await _scrape(http)
    accepted = {
        repeated: found["triggers_accepted_total", _labels(trigger="webhook", repeated=repeated)]
        for repeated in ("false", "true")
    }
    refused = {
        tuple(sorted(dict(labels).values())): value
        for (name, labels), value in found.items()
        if name == "triggers_refused_total"
    }
    assert accepted == {"false": 2, "true": 1}
    assert refused == {
        ("not_authenticated", "webhook"): 1,
        ("malformed_body", "webhook"): 1,
        ("unsupported_media_type", "webhook"): 1,
        ("invalid_input", "manual"): 1,
    }


@pytest.mark.usefixtures("worker")
async def test_after_runs_the_counts_are_those_of_the_tables(
    http: httpx.AsyncClient, ada: Caller
) -> None:
    for _ in range(3):
        await _start(ada)
    await _start(ada, FAILS)
    waiting = await _start(ada, WAITS)
    await _until(http, "runs", 1, status="waiting")
    assert (await ada.post(f"/runs/{waiting}/cancel")).status_code == 200

    found = await _until(http, "runs_ended_total", 3, status="succeeded")
    found = await _until(http, "runs_started_total", 5, trigger="manual")

    assert found["runs_ended_total", _labels(status="failed")] == 1
    assert found["attempts_ended_total", _labels(type="log", status="succeeded")] == 3
    assert found["attempts_ended_total", _labels(type="fail", status="failed")] == 1
    assert found["queue_seconds_count", _labels(trigger="manual")] == 5
    assert found["attempt_seconds_count", _labels(type="log")] == 3
    assert found["workers", _labels()] == 1
    assert found["runs_in_flight", _labels()] == 0


async def test_a_cancelled_run_is_counted(http: httpx.AsyncClient, ada: Caller) -> None:
    run_id = await _start(ada)

    await ada.post(f"/runs/{run_id}/cancel")

    found = await _scrape(http)
    assert found["runs_ended_total", _labels(status="cancelled")] == 1


async def test_the_queue_tells_its_depth_and_the_age_of_its_oldest_run(
    http: httpx.AsyncClient, ada: Caller, container: Container
) -> None:
    run_id = await _start(ada)
    paused = await _start(ada)
    await ada.post(f"/runs/{paused}/pause")
    with container.engine.begin() as connection:
        past = database_now(connection).replace(year=2020)
        connection.execute(
            text("UPDATE runs SET created_at = :past WHERE id = :id"),
            {"past": past.replace(tzinfo=None).isoformat(" ") + "Z", "id": run_id}
            if connection.dialect.name == "postgresql"
            else {"past": past.replace(tzinfo=None).isoformat(" "), "id": run_id},
        )

    found = await _scrape(http)

    assert found["queue_depth", _labels()] == 1
    assert found["runs", _labels(status="paused")] == 1
    assert found["queue_oldest_seconds", _labels()] > 365 * 86_400


async def test_what_other_processes_of_the_machine_laid_down_is_shown_with_it(
    http: httpx.AsyncClient, settings: Settings
) -> None:
    neighbour = Shelf(settings.data_dir / "metrics", "api-neighbour", SystemClock())
    neighbour.put(
        b"# TYPE automateos_runs_ended_total counter\n"
        b'automateos_runs_ended_total{status="failed"} 41\n'
    )

    answer = await http.get("/metrics")

    assert 'automateos_runs_ended_total{process="api-neighbour",status="failed"} 41' in answer.text
    assert answer.text.count("# TYPE automateos_runs_ended_total counter") == 1


async def test_without_its_database_it_still_shows_what_it_counted(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql://x:x@127.0.0.1:1/none"})
    async with running(gone) as app, client_of(app) as http:
        found = await _scrape(http)

    assert found["database_up", _labels()] == 0
    assert ("queue_depth", _labels()) not in found
    assert ("runs_ended_total", _labels(status="failed")) in found


async def test_a_client_behind_an_unknown_proxy_may_not_read(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.7"})

    assert answer.status_code == 403
    assert "METRICS_TOKEN" in answer.json()["detail"]


async def test_with_a_token_only_its_holder_may_read(settings: Settings) -> None:
    guarded = settings.model_copy(update={"metrics_token": SecretStr("a token for Prometheus")})
    async with running(guarded) as app, client_of(app) as http:
        without = await http.get("/metrics")
        bearer = {"Authorization": "Bearer a token for Prometheus"}
        with_it = await http.get("/metrics", headers=bearer)

    assert (without.status_code, with_it.status_code) == (401, 200)


async def test_no_label_grows_with_users_workflows_or_runs(
    http: httpx.AsyncClient, ada: Caller
) -> None:
    await _start(ada)
    before = {(name, labels) for name, labels in await _scrape(http) if "batch" not in name}

    for _ in range(5):
        await _start(ada)

    after = {(name, labels) for name, labels in await _scrape(http) if "batch" not in name}
    assert after == before


@pytest.mark.usefixtures("worker")
async def test_an_operator_sees_the_status(ada: Caller, http: httpx.AsyncClient) -> None:
    await _start(ada)
    await _start(ada, WAITS)
    await _until(http, "runs", 1, status="waiting")
    await _until(http, "runs", 0, status="queued")

    status = (await ada.get("/admin/status")).json()

    assert status["mode"] == "normal"
    assert status["runs"] == {"queued": 0, "running": 0, "waiting": 1, "paused": 0}
    assert (status["queue_depth"], status["oldest_queued_seconds"]) == (0, 0.0)
    assert [worker["runs"] for worker in status["workers"]] == [0]
    assert status["processed"]["accepted"] == 2
    assert status["processed"]["ended"]["succeeded"] == 1


@pytest.mark.usefixtures("ada")
async def test_others_do_not_see_the_status(sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")

    answer = await bob.get("/admin/status")

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
