"""The user's whole way over HTTP: account, workflow, webhook, run, history; and what is refused on that way."""

from typing import Any

import httpx
import pytest

from tests.e2e.crash.harness.platform import ACCOUNT, Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
SALE = {"id": "evt_1", "amount": 4200}
STRANGER = {"email": "eve@example.com", "password": "another long password"}


def bridge(sink: Sink) -> dict[str, Any]:
    """Return the README's workflow, with the test's sink in the place of Discord."""
    config = {
        "method": "POST",
        "url": sink.url("/api/webhooks/xxx/yyy"),
        "headers": {"Content-Type": "application/json"},
        "json_body": {"content": "New sale!"},
    }
    steps = [{"type": "http_request_node", "config": config}]
    return {"name": "Stripe to Discord Bridge", "definition": {"steps": steps}}


def log_in(platform: Platform, account: dict[str, str]) -> dict[str, str]:
    form = {"username": account["email"], "password": account["password"]}
    answer = platform.http.post("/login", data=form)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def sign_up(platform: Platform, account: dict[str, str]) -> dict[str, str]:
    answer = platform.http.post("/register", json=account)
    assert answer.status_code == 201, answer.text
    return log_in(platform, account)


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_a_sale_reaches_discord_and_stands_in_the_history(platform: Platform, sink: Sink) -> None:
    ada = sign_up(platform, ACCOUNT)
    saved = platform.http.post("/workflows", json=bridge(sink), headers=ada)
    workflow = saved.json()

    answer = httpx.post(workflow["webhook_url"], json=SALE)
    run_id = answer.json()["run_id"]
    platform.accepted.append(run_id)
    platform.until(
        lambda: (
            platform.http.get(f"/runs/{run_id}", headers=ada).json()["status"]
            in {"succeeded", "failed"}
        )
    )

    assert saved.status_code == 201
    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    history = platform.http.get(
        f"/workflows/{workflow['id']}/runs", params={"limit": 1}, headers=ada
    )
    assert [run["id"] for run in history.json()["items"]] == [run_id]
    run = platform.http.get(f"/runs/{run_id}", headers=ada).json()
    assert (run["status"], run["input"], run["trigger"]) == ("succeeded", SALE, "webhook")
    assert [(step["path"], step["status"], step["attempts"]) for step in run["steps"]] == [
        ("step_1", "succeeded", 1)
    ]
    assert run["output"]["body"] == {"ok": True}
    assert sink.bodies == [b'{"content":"New sale!"}']
    assert sink.effects == {f"{run_id}:step_1": 1}


def test_what_is_wrong_is_refused_and_starts_nothing(platform: Platform, sink: Sink) -> None:
    ada, eve = sign_up(platform, ACCOUNT), sign_up(platform, STRANGER)
    workflow = platform.http.post("/workflows", json=bridge(sink), headers=ada).json()
    address = f"/workflows/{workflow['id']}"
    hook, url = f"/webhooks/{workflow['id']}", workflow["webhook_url"]

    assert_problem(platform.http.post(hook, json=SALE, params={"token": "wrong"}), 401)
    assert_problem(platform.http.post(hook, json=SALE), 401)
    assert_problem(platform.http.post(hook, json=SALE, headers=eve), 404)
    assert_problem(platform.http.get(address, headers=eve), 404)
    assert_problem(platform.http.post(f"{address}/runs", json={}, headers=eve), 404)
    assert_problem(platform.http.get(address), 401)
    assert_problem(httpx.post(url, json={"text": "x" * 2_000_000}), 413)
    assert_problem(post_json(url, b"[" * 100 + b"]" * 100), 400)
    assert_problem(post_json(url, b'{"n": NaN}'), 400)
    disabled = platform.http.patch(address, json={"enabled": False}, headers=ada)
    assert disabled.status_code == 200, disabled.text
    assert_problem(httpx.post(url, json=SALE), 409)
    assert_problem(platform.http.post(f"{address}/runs", json={}, headers=ada), 409)

    assert platform.database.count("SELECT count(*) FROM runs") == 0
    assert not sink.effects


def test_the_same_event_delivered_twice_is_one_run(platform: Platform, sink: Sink) -> None:
    ada = sign_up(platform, ACCOUNT)
    workflow = platform.http.post(
        "/workflows", json=bridge(sink) | {"dedupe": {"key": "input.id"}}, headers=ada
    ).json()

    first, second = (httpx.post(workflow["webhook_url"], json=SALE) for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["run_id"] == first.json()["run_id"]
    platform.accepted.append(first.json()["run_id"])
    platform.until_ended()


def post_json(url: str, body: bytes) -> httpx.Response:
    return httpx.post(url, content=body, headers={"Content-Type": "application/json"})


def test_a_run_outlives_its_worker_on_either_database(platform: Platform, sink: Sink) -> None:
    platform.log_in()
    workflow = platform.workflow(platform.call_step("first"), platform.call_step("last", "/held"))
    run_id = platform.trigger(workflow)
    platform.until(lambda: sink.holding == 1)

    platform.kill_workers()
    sink.open()
    platform.worker()
    platform.until_ended()

    assert platform.database.attempts(run_id) == [
        ("first", 1, "succeeded"),
        ("last", 1, "lost"),
        ("last", 2, "succeeded"),
    ]
    assert sink.effects == {f"{run_id}:first": 1, f"{run_id}:last": 2}
