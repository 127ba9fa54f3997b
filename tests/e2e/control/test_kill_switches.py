"""Kill switches over real processes: stopped within a second, through restarts of everybody, and gone on with afterwards."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.core.clock import SystemClock
from tests.e2e.control.desk import Desk
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
SWITCHES = "/admin/kill-switches"
WITHIN_SECONDS = 1.0
ITERATIONS = 500
STEPS = ("one", "two", "three", "four", "five")
LAST_START = """
    SELECT count(*) FROM steps s, kill_switches k
    WHERE s.run_id = :run_id AND k.id = :switch_id AND s.started_at > k.created_at + interval '1 second'
"""


@pytest.fixture(autouse=True)
def _everything_is_lifted(ada: Desk) -> Iterator[None]:
    yield
    for switch in ada.get(SWITCHES, params={"active": True})["items"]:
        ada.http.delete(f"{SWITCHES}/{switch['id']}")


def put(ada: Desk, scope: str = "all", **more: Any) -> str:
    answer = ada.post(SWITCHES, {"scope": scope, "mode": "halt", "reason": "fire drill", **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def lift(ada: Desk, switch_id: str) -> None:
    assert ada.http.delete(f"{SWITCHES}/{switch_id}").status_code == 200


def begun(platform: Platform, ada: Desk, sink: Sink) -> str:
    """Start a run of five steps whose first call is held at the sink."""
    steps = [platform.call_step(name) for name in STEPS[1:]]
    run_id = ada.begin(platform.call_step(STEPS[0], "/held"), *steps)
    platform.until(lambda: sink.holding == 1)
    return run_id


def each_step_once(run_id: str) -> dict[str, int]:
    return {f"{run_id}:{name}": 1 for name in STEPS}


def test_a_halt_stops_a_run_before_its_next_step_outlives_everybody_and_lets_it_go_on(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = begun(platform, ada, sink)
    workflow = ada.save({"type": "log", "config": {"message": "x"}})

    switch_id = put(ada)
    platform.stays_true(lambda: sink.holding == 1, WITHIN_SECONDS)  # an attempt in flight may end
    sink.open()
    stopped = ada.until(run_id, "paused")
    platform.kill_workers()
    platform.kill_api()
    platform.api()
    platform.worker()
    platform.stays_true(lambda: ada.status(run_id) == "paused", WITHIN_SECONDS)
    refused = ada.http.post(workflow["webhook_url"], json={}, headers={"Authorization": ""})
    stored = platform.database.count(
        "SELECT count(*) FROM runs WHERE workflow_id = :id", id=workflow["id"]
    )
    status = ada.get("/admin/status")
    lift(ada, switch_id)
    run = ada.ended(run_id)

    assert stopped["waiting_for"] == [
        {
            "kind": "kill_switch",
            "id": switch_id,
            "code": "kill_switch",
            "reason": "Stopped by a kill switch: fire drill",
        }
    ]
    assert [(step["path"], step["status"]) for step in stopped["steps"]] == [("one", "succeeded")]
    assert (refused.status_code, refused.json()["code"], stored) == (503, "kill_switch", 0)
    assert int(refused.headers["retry-after"]) > 0
    assert status["mode"] == "halt"
    assert run["status"] == "succeeded"
    assert sink.effects == each_step_once(run_id)
    assert {step["attempts"] for step in run["steps"]} == {1}


def test_no_step_starts_more_than_a_second_after_the_switch_was_set(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    loop = {
        "id": "each",
        "type": "for_each",
        "config": {"items": "input.items"},
        "steps": [platform.call_step("call")],
    }
    run_id = ada.start(ada.save(loop), {"items": [0] * ITERATIONS})
    platform.until(lambda: len(sink.effects) > 5)

    switch_id = put(ada)
    ada.until(run_id, "paused")
    effects = len(sink.effects)
    platform.stays_true(lambda: len(sink.effects) == effects, WITHIN_SECONDS)
    late = platform.database.count(LAST_START, run_id=run_id, switch_id=switch_id)
    lift(ada, switch_id)
    run = ada.ended(run_id)

    assert effects < ITERATIONS
    assert late == 0
    assert run["status"] == "succeeded"
    assert set(sink.effects.values()) == {1}
    assert len(sink.effects) == ITERATIONS


def test_while_draining_a_run_ends_and_those_in_the_queue_wait(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = begun(platform, ada, sink)
    answer = ada.http.post("/admin/kill_switch", params={"enabled": True, "mode": "drain"})
    refused = ada.post(f"/workflows/{ada.run(run_id)['workflow_id']}/runs", {})
    sink.open()
    run = ada.ended(run_id)

    platform.kill_workers()
    ada.http.post("/admin/kill_switch", params={"enabled": False})
    queued = ada.begin(platform.call_step("later"))
    ada.http.post("/admin/kill_switch", params={"enabled": True, "mode": "drain"})
    platform.worker()
    waiting = ada.until(queued, "paused")
    ada.http.post("/admin/kill_switch", params={"enabled": False})
    later = ada.ended(queued)

    assert (answer.status_code, refused.status_code) == (200, 503)
    assert run["status"] == "succeeded"
    assert (waiting["started_at"], waiting["waiting_for"][0]["kind"]) == (None, "kill_switch")
    assert later["status"] == "succeeded"
    assert sink.effects == {**each_step_once(run_id), f"{queued}:later": 1}


def test_a_switch_that_expires_lets_runs_go_on_by_itself(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = begun(platform, ada, sink)
    in_a_while = SystemClock().now() + timedelta(seconds=3)

    put(ada, "user", target=ada.email, expires_at=in_a_while.isoformat())
    platform.stays_true(lambda: sink.holding == 1, WITHIN_SECONDS)
    sink.open()
    ada.until(run_id, "paused")
    run = ada.ended(run_id)

    assert run["status"] == "succeeded"
    assert sink.effects == each_step_once(run_id)
    (switch,) = ada.get(SWITCHES, params={"limit": 1})["items"]
    assert (switch["active"], switch["lifted_by"]) == (False, None)
    assert switch["lifted_at"] == switch["expires_at"]


def test_people_see_in_the_stream_that_their_run_is_stopped(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = begun(platform, ada, sink)
    switch_id = put(ada, "workflow", target=ada.run(run_id)["workflow_id"])
    platform.stays_true(lambda: sink.holding == 1, WITHIN_SECONDS)
    told = ""
    with ada.http.stream("GET", f"/runs/{run_id}/stream") as stream:
        sink.open()
        for line in stream.iter_lines():
            told += line
            if "fire drill" in line:
                break
    lift(ada, switch_id)
    run = ada.ended(run_id)

    assert '"status":"paused"' in told
    assert run["status"] == "succeeded"
