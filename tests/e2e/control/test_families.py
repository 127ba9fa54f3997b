"""Runs that start runs, over real processes: the family is linked, fails together and is cancelled together."""

from typing import Any

import pytest

from tests.e2e.control.desk import Desk
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
PROMPTLY_SECONDS = 2.0
"""How soon a call in flight is hung up on, says the promise."""


def child_step(workflow: dict[str, Any], **config: Any) -> dict[str, Any]:
    wish = {"workflow": workflow["id"], "input": {"n": "${{ input.n }}"}, **config}
    return {"id": "child", "type": "run_workflow", "config": wish}


def test_a_parent_waits_for_its_child_and_takes_over_what_it_has_brought(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    double = ada.save(
        {"id": "double", "type": "transform", "config": {"value": "${{ input.n * 2 }}"}}
    )
    parent = ada.save(child_step(double), platform.call_step("after"))

    run = ada.ended(ada.start(parent, {"n": 21}))

    (child,) = run["children"]
    brought = run["steps"][0]["output"]
    assert run["status"] == "succeeded"
    assert brought == {"run_id": child["run_id"], "status": "succeeded", "output": 42}
    found = ada.run(child["run_id"])
    assert (found["trigger"], found["parent"]) == ("run", {"run_id": run["id"], "step": "child"})
    assert sink.effects == {f"{run['id']}:after": 1}


def test_the_failure_of_a_child_is_the_failure_of_the_step(ada: Desk) -> None:
    broken = ada.save({"type": "fail", "config": {"message": "Out of tea", "code": "no_tea"}})
    caught = {"id": "caught", "type": "transform", "config": {"value": "caught"}}
    handling = ada.save(child_step(broken), {**caught, "depends_on": ["child.failed"]})

    failed = ada.ended(ada.start(ada.save(child_step(broken)), {"n": 1}))
    handled = ada.ended(ada.start(handling, {"n": 1}))

    assert (failed["status"], failed["error"]["code"]) == ("failed", "child_failed")
    assert failed["error"]["data"]["error"]["code"] == "no_tea"
    assert (handled["status"], handled["steps"][-1]["output"]) == ("succeeded", "caught")


def test_cancelling_a_parent_hangs_up_on_the_call_of_its_grandchild(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    platform.registered(platform.worker())  # so that parent and child may be in different hands
    calling = ada.save(platform.call_step("call", "/held"), platform.call_step("after"))
    middle = ada.save(child_step(calling), platform.call_step("then"))
    run_id = ada.start(ada.save(child_step(middle), platform.call_step("last")), {"n": 1})
    platform.until(lambda: sink.holding == 1)

    answer = ada.control(run_id, "cancel", reason="wrong customer")
    platform.until(lambda: sink.abandoned == 1, seconds=PROMPTLY_SECONDS)
    sink.open()

    runs = [ada.run(run_id)]
    while runs[-1]["children"]:
        runs.append(ada.run(runs[-1]["children"][0]["run_id"]))
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert runs[0]["control"]["reason"] == "wrong customer"
    assert [run["status"] for run in runs] == ["cancelled"] * 3
    assert [[step["status"] for step in run["steps"]] for run in runs] == [["cancelled"]] * 3
    assert sink.effects == {f"{runs[2]['id']}:call": 1}


def test_the_time_out_of_a_parent_ends_its_child_and_hangs_up_on_its_call(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    calling = ada.save(platform.call_step("call", "/held"))
    parent = ada.save(child_step(calling), definition={"timeout_seconds": 2})
    run_id = ada.start(parent, {"n": 1})
    platform.until(lambda: sink.holding == 1)

    run = ada.ended(run_id)
    platform.until(lambda: sink.abandoned == 1)

    assert run["status"] == "timed_out"
    assert ada.status(run["children"][0]["run_id"]) == "cancelled"


def test_a_child_that_nobody_waits_for_outlives_its_parent(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    calling = ada.save(platform.call_step("call", "/held"))
    parent = ada.ended(ada.start(ada.save(child_step(calling, wait=False)), {"n": 1}))
    (child,) = parent["children"]
    platform.until(lambda: sink.holding == 1)

    refused = ada.control(parent["id"], "cancel")
    sink.open()

    assert (parent["status"], refused.status_code) == ("succeeded", 409)
    assert ada.ended(child["run_id"])["status"] == "succeeded"


def test_parent_and_child_outlive_all_workers(platform: Platform, ada: Desk, sink: Sink) -> None:
    calling = ada.save(platform.call_step("call", "/held"))
    run_id = ada.start(ada.save(child_step(calling), platform.call_step("after")), {"n": 1})
    platform.until(lambda: sink.holding == 1)

    platform.kill_workers()
    sink.open()
    platform.worker()
    run = ada.ended(run_id)

    (child,) = run["children"]
    assert run["status"] == "succeeded"
    assert platform.database.attempts(child["run_id"]) == [
        ("call", 1, "lost"),
        ("call", 2, "succeeded"),
    ]
    assert sink.effects == {f"{child['run_id']}:call": 2, f"{run_id}:after": 1}
