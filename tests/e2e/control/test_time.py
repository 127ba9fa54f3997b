"""Time over real processes: what waits outlives everybody, and each fire time starts one run."""

import pytest

from tests.e2e.control.desk import Desk
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
SCHEDULES = 12
NEW_YEAR = "0 0 1 1 *"
MADE_DUE = """
    UPDATE schedules SET next_fire_at = now() - interval '1 second'
    WHERE workflow_id = :id RETURNING next_fire_at
"""
FIRED = "SELECT count(*) FROM runs WHERE workflow_id = :id AND trigger_kind = 'schedule'"


def test_a_delay_ends_once_although_api_and_worker_were_killed_meanwhile(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    nap = {"id": "nap", "type": "delay", "config": {"seconds": 2}}
    run_id = ada.begin(platform.call_step("before"), nap, platform.call_step("after"))
    waiting = ada.until(run_id, "waiting")

    platform.kill_workers()
    platform.kill_api()
    platform.worker()
    platform.api()
    run = ada.ended(run_id)

    assert [(wait["step"], wait["kind"]) for wait in waiting["waiting_for"]] == [("nap", "timer")]
    assert run["status"] == "succeeded"
    attempts = platform.database.attempts(run_id)
    assert attempts == [(path, 1, "succeeded") for path in ("before", "nap", "after")]
    assert sink.effects == {f"{run_id}:before": 1, f"{run_id}:after": 1}
    (nap_row,) = [step for step in run["steps"] if step["path"] == "nap"]
    assert nap_row["output"]["waited_seconds"] >= 2


def test_a_run_whose_delay_ends_while_nobody_is_there_goes_on_when_a_worker_comes(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    nap = {"id": "nap", "type": "delay", "config": {"seconds": 3600}}
    run_id = ada.begin(nap, platform.call_step("after"))
    ada.until(run_id, "waiting")
    platform.kill_workers()
    platform.database.rows(
        "UPDATE waits SET due_at = now() - interval '1 hour' WHERE run_id = :id", id=run_id
    )

    platform.worker()
    run = ada.ended(run_id)

    assert run["status"] == "succeeded"
    assert sink.effects == {f"{run_id}:after": 1}


def test_three_workers_fire_each_of_many_schedules_once(platform: Platform, ada: Desk) -> None:
    platform.registered(*(platform.worker() for _ in range(3)))
    workflow = ada.save({"type": "log", "config": {"message": "${{ input.scheduled_at }}"}})
    path = f"/workflows/{workflow['id']}/schedules"
    saved = [ada.post(path, {"cron": NEW_YEAR}).json() for _ in range(SCHEDULES)]
    disabled = ada.post(path, {"cron": NEW_YEAR, "enabled": False}).json()

    platform.database.rows(MADE_DUE, id=workflow["id"])
    platform.until(lambda: platform.database.count(FIRED, id=workflow["id"]) >= SCHEDULES)
    statuses = ada.all_ended(workflow, SCHEDULES)

    assert statuses == {"succeeded": SCHEDULES}
    after = {item["id"]: item for item in ada.get(path, params={"limit": 100})["items"]}
    runs = [after[schedule["id"]]["last_run_id"] for schedule in saved]
    assert len(set(runs)) == SCHEDULES
    assert {ada.run(run_id)["input"]["schedule_id"] for run_id in runs} == {
        schedule["id"] for schedule in saved
    }
    assert all(len(after[schedule["id"]]["next_fire_times"]) == 5 for schedule in saved)
    assert after[disabled["id"]]["last_run_id"] is None
