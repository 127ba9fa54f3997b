"""`Prefer: wait`: calls that are answered when their run has come to something."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.api.container import Container
from app.core.config import Settings
from app.engine.delivery.process import WorkerProcess
from app.services import run_watch
from tests.integration.api.conftest import KEY, Caller, Sign

WAIT = {"Prefer": "wait=20"}
SOON = {"Prefer": "wait=1"}
ADD = {"id": "add", "type": "transform", "config": {"value": "${{ input.a + 1 }}"}}
NAP = {"id": "nap", "type": "delay", "config": {"seconds": 600}}


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        secret_key=KEY,
        data_dir=tmp_path,
        shutdown_seconds=1,
    )


@pytest.fixture
async def worker(container: Container) -> AsyncIterator[None]:
    process = WorkerProcess(container.settings)
    process.begin()
    yield
    await process.end()


def rules_for(reader: str) -> dict[str, Any]:
    """Return a workflow's context that names who may read its runs."""
    basis = {"authority": "GDPR", "classification": "secret", "authorized_users": [reader]}
    return {"defaults": {"legal_basis": basis}}


async def _call(ada: Caller, steps: list[Any], headers: dict[str, str]) -> httpx.Response:
    saved = await ada.save(definition={"steps": steps})
    return await ada.http.post(saved["webhook_url"], json={"a": 1}, headers=headers)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("worker")
async def test_the_answer_is_how_the_run_ended(ada: Caller, container: Container) -> None:
    good = await _call(ada, [ADD], WAIT)
    bad = await _call(ada, [{"type": "fail", "config": {"message": "no", "code": "nope"}}], WAIT)
    by_hand = await ada.post(
        f"/workflows/{(await ada.save(definition={'steps': [ADD]}))['id']}/runs",
        {"input": {"a": 2}},
        headers=WAIT,
    )

    assert (good.status_code, good.headers["preference-applied"]) == (200, "wait=20")
    run_id = good.json()["run_id"]
    assert good.json() == {
        "run_id": run_id,
        "status": "succeeded",
        "duplicate": False,
        "output": 2,
        "error": None,
    }
    assert (bad.status_code, bad.json()["status"]) == (200, "failed")
    assert bad.json()["error"]["code"] == "nope"
    assert (by_hand.status_code, by_hand.headers["preference-applied"]) == (200, "wait=20")
    assert (by_hand.json()["output"], by_hand.json()["id"]) == (3, by_hand.json()["run_id"])
    assert container.run_watch.waiting == 0


@pytest.mark.usefixtures("worker")
async def test_a_run_that_takes_longer_is_answered_as_usual(ada: Caller) -> None:
    started = asyncio.get_running_loop().time()

    answer = await _call(ada, [NAP], SOON)

    assert asyncio.get_running_loop().time() - started >= 1
    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    assert "preference-applied" not in answer.headers


async def test_who_does_not_want_to_wait_does_not(ada: Caller) -> None:
    for headers in ({}, {"Prefer": "wait=soon"}, {"Prefer": "respond-async"}):
        answer = await _call(ada, [NAP], headers)

        assert answer.status_code == 202
        assert "preference-applied" not in answer.headers


@pytest.mark.usefixtures("worker")
async def test_a_respond_step_answers_before_the_runs_end(ada: Caller) -> None:
    respond = {
        "type": "respond",
        "config": {"status": 201, "headers": {"X-Order": "${{ input.a }}"}, "body": {"ok": True}},
    }
    second = {"type": "respond", "config": {"status": 500}}

    answer = await _call(ada, [respond, second, NAP], WAIT)

    run = (await ada.get(f"/runs/{answer.headers['x-run-id']}")).json()
    assert (answer.status_code, answer.json()) == (201, {"ok": True})
    assert answer.headers["x-order"] == "1"
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert run["status"] in {"running", "waiting"}
    assert run["steps"][0]["output"]["status"] == 201


@pytest.mark.usefixtures("worker")
async def test_only_readers_get_the_output_of_a_run_that_names_its_readers(
    ada: Caller, sign_up: Sign
) -> None:
    bob, eve = await sign_up("bob@example.com"), await sign_up("eve@example.com")
    fields = {"definition": {"steps": [ADD]}, "context": rules_for("bob@example.com")}
    url = (await ada.save(**fields))["webhook_url"]

    async def call(headers: dict[str, str]) -> httpx.Response:
        return await ada.http.post(url, json={"a": 1}, headers=WAIT | headers)

    by_token, by_eve, by_bob = await call({}), await call(eve.headers), await call(bob.headers)
    by_ada = await call(ada.headers)
    await ada.post("/me/sessions/revoke")
    by_old_login = await call(ada.headers)

    for answer in (by_token, by_eve, by_old_login):
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
        assert set(answer.json()) == {"run_id", "status", "duplicate"}
    assert (by_bob.json()["output"], by_ada.json()["output"]) == (2, 2)


@pytest.mark.usefixtures("worker")
async def test_an_error_is_no_less_withheld_but_what_respond_says_is_for_the_caller(
    ada: Caller,
) -> None:
    context = rules_for("bob@example.com")
    bad = {"type": "fail", "config": {"message": "secret", "code": "nope"}}
    good = {"type": "respond", "config": {"body": {"ok": True}}}
    failing, answering = [
        await ada.save(definition={"steps": [step]}, context=context) for step in (bad, good)
    ]

    failed = await ada.http.post(failing["webhook_url"], json={}, headers=WAIT)
    answered = await ada.http.post(answering["webhook_url"], json={}, headers=WAIT)

    assert failed.json()["status"] == "failed"
    assert "secret" not in failed.text
    assert answered.json() == {"ok": True}


@pytest.mark.usefixtures("worker")
async def test_bodies_are_text_json_or_nothing(ada: Caller) -> None:
    expected: list[tuple[dict[str, Any], bytes, str | None]] = [
        ({"body": "<script>"}, b"<script>", "text/plain; charset=utf-8"),
        ({"body": "a;b", "headers": {"Content-Type": "text/csv"}}, b"a;b", "text/csv"),
        ({"body": [1, None]}, b"[1,null]", "application/json"),
        ({"status": 204}, b"", None),
        ({}, b"", None),
    ]
    for config, content, kind in expected:
        answer = await _call(ada, [{"type": "respond", "config": config}], WAIT)

        assert answer.status_code == config.get("status", 200)
        assert (answer.content, answer.headers.get("content-type")) == (content, kind)


@pytest.mark.usefixtures("worker")
async def test_a_repeated_call_gets_the_first_runs_answer(ada: Caller) -> None:
    steps = [ADD, {"type": "respond", "config": {"body": "${{ string(steps.add.output) }}"}}]
    saved = await ada.save(definition={"steps": steps})

    answers = [
        await ada.http.post(
            saved["webhook_url"], json={"a": a}, headers=WAIT | {"Idempotency-Key": "k"}
        )
        for a in (1, 5)
    ]
    path = f"/workflows/{saved['id']}/runs"
    by_hand = await ada.post(path, {"input": {"a": 7}}, headers=WAIT | {"Idempotency-Key": "k"})

    assert [answer.text for answer in answers] == ["2", "2"]
    assert answers[0].headers["x-run-id"] == answers[1].headers["x-run-id"]
    assert (by_hand.json()["duplicate"], by_hand.json()["output"]["body"]) == (True, "2")


@pytest.mark.usefixtures("worker")
async def test_many_wait_at_once(ada: Caller, container: Container) -> None:
    saved = await ada.save(definition={"steps": [ADD]})

    answers = await asyncio.gather(
        *(
            ada.http.post(saved["webhook_url"], json={"a": number}, headers=WAIT)
            for number in range(100)
        )
    )

    assert [answer.json()["output"] for answer in answers] == [n + 1 for n in range(100)]
    assert container.run_watch.waiting == 0


async def test_a_large_output_is_told_by_its_address(ada: Caller, container: Container) -> None:
    process = WorkerProcess(container.settings)
    process.begin()
    value = "${{ [1, 2, 3, 4].map(i, input) }}"
    saved = await ada.save(
        definition={"steps": [{"type": "transform", "config": {"value": value}}]}
    )

    answer = await ada.http.post(saved["webhook_url"], json={"text": "x" * 100_000}, headers=WAIT)

    artifact = answer.json()["output"]["$artifact"]
    assert artifact["bytes"] > 400_000
    assert (await ada.http.get(artifact["url"], headers=ada.headers)).status_code == 200
    await process.end()


async def test_when_too_many_wait_the_answer_comes_at_once(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watch, "MAX_WAITING", 1)
    waiting = asyncio.create_task(_call(ada, [NAP], WAIT))
    await _until(lambda: container.run_watch.waiting == 1)

    answer = await _call(ada, [NAP], WAIT)

    assert answer.status_code == 202
    assert container.run_watch.waiting == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await _until(lambda: container.run_watch.waiting == 0)


async def test_who_hangs_up_is_forgotten(ada: Caller, container: Container) -> None:
    saved = await ada.save(definition={"steps": [NAP]})
    path, _, token = saved["webhook_url"].removeprefix("http://test").partition("?")
    sent: list[Any] = []
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": token.encode(),
        "headers": [(b"prefer", b"wait=30"), (b"content-type", b"application/json"), (b"content-length", b"2")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def send(message: Any) -> None:
        sent.append(message)

    call = asyncio.create_task(ada.http._transport.app(scope, incoming.get, send))  # type: ignore[attr-defined]
    await _until(lambda: container.run_watch.waiting == 1)

    incoming.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(call, 5)

    assert container.run_watch.waiting == 0


async def test_a_database_that_is_away_for_a_moment_is_waited_out(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        asked = 0

        def begin(self) -> Any:
            self.asked += 1
            raise PoolTimeout("away")

    broken = Broken()
    monkeypatch.setattr(run_watch, "PAUSE_SECONDS", 0.01)
    watch, engine = container.run_watch, container.engine
    monkeypatch.setattr(watch, "_engine", broken)
    call = asyncio.create_task(_call(ada, [ADD], WAIT))
    await _until(lambda: broken.asked > 1)

    monkeypatch.setattr(watch, "_engine", engine)
    process = WorkerProcess(container.settings)
    process.begin()
    answer = await call

    assert answer.json()["output"] == 2
    await process.end()
