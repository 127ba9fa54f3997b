"""Calls that wait for their run, and runs that nobody calls for: over real processes, on either database."""

import httpx
import pytest

from tests.e2e.crash.harness.platform import Platform

pytestmark = pytest.mark.crash
NAP = {"id": "nap", "type": "delay", "config": {"seconds": 3}}
RESPOND = {"type": "respond", "config": {"status": 201, "body": {"order": "${{ input.id }}"}}}
ADD = {"type": "transform", "config": {"value": "${{ input.id + 1 }}"}}


def test_a_call_gets_its_answer_before_its_run_is_over(platform: Platform) -> None:
    platform.log_in()
    slow, quick = platform.workflow(RESPOND, NAP), platform.workflow(ADD)

    answer = httpx.post(slow.webhook_url, json={"id": 7}, headers={"Prefer": "wait=20"}, timeout=30)
    status = platform.http.get(f"/runs/{answer.headers['x-run-id']}").json()["status"]
    ended = httpx.post(quick.webhook_url, json={"id": 7}, headers={"Prefer": "wait=20"}, timeout=30)
    late = httpx.post(slow.webhook_url, json={"id": 8}, headers={"Prefer": "wait=0"})

    platform.accepted += [answer.headers["x-run-id"], ended.json()["run_id"], late.json()["run_id"]]
    assert (answer.status_code, answer.json()) == (201, {"order": 7})
    assert status in {"running", "waiting"}
    assert (ended.status_code, ended.json()["output"]) == (200, 8)
    assert late.status_code == 202
    platform.until_ended()


def test_two_workers_fire_what_a_schedule_has_missed_once(platform: Platform) -> None:
    platform.log_in()
    workflow = platform.workflow(
        {"type": "log", "config": {"message": "${{ input.scheduled_at }}"}}
    )
    platform.worker()
    path = f"/workflows/{workflow.id}/schedules"
    saved = platform.http.post(path, json={"cron": "0 0 1 1 *", "misfire": "once"}).json()
    # The year is over: what was missed is fired once.
    platform.database.rows(
        "UPDATE schedules SET next_fire_at = '2026-01-01 00:00:00' RETURNING next_fire_at"
    )

    address = f"{path}/{saved['id']}"
    platform.until(lambda: platform.http.get(address).json()["last_run_id"] is not None)

    fired = platform.http.get(address).json()
    platform.accepted.append(fired["last_run_id"])
    platform.until_ended()
    run = platform.http.get(f"/runs/{fired['last_run_id']}").json()
    assert run["trigger"] == "schedule"
    assert run["input"]["scheduled_at"] == "2026-01-01T00:00:00.000Z"
    assert platform.database.count("SELECT count(*) FROM runs") == 1
