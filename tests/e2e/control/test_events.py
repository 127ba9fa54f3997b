"""Events over HTTP and real workers: each run gets its own, an early one is kept, a repeated one changes nothing."""

from functools import partial
from typing import Any

import pytest

from app.core.ids import new_id
from tests.e2e.control.desk import Desk, at_once
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
BURST = 200
UNTOUCHED = 10
WAITING = "SELECT count(*) FROM waits WHERE kind = 'event' AND event_type = :type"


def wait_for(event_type: str, **config: Any) -> dict[str, Any]:
    wish = {"event_type": event_type, "correlation_id": "${{ input.id }}", **config}
    return {"id": "wait", "type": "wait_for_event", "config": wish}


def test_a_published_event_wakes_the_run_that_waits_for_it(
    platform: Platform, ada: Desk, eve: Desk, sink: Sink
) -> None:
    workflow = ada.save(
        wait_for("paid", filter="event.payload.amount >= 10"), platform.call_step("after")
    )
    order = new_id()
    run_id = ada.start(workflow, {"id": order})
    ada.until(run_id, "waiting")
    event = {"type": "paid", "correlation_id": order, "payload": {"amount": 10}}

    foreign = eve.post("/events", event)
    other = ada.post("/events", {**event, "correlation_id": new_id()})
    small = ada.post("/events", {**event, "payload": {"amount": 9}})
    fitting = ada.post("/events", event)
    run = ada.ended(run_id)

    answers = [answer.json()["woken"] for answer in (foreign, other, small, fitting)]
    assert answers == [0, 0, 0, 1]
    assert fitting.status_code == 202
    assert run["status"] == "succeeded"
    assert run["steps"][0]["output"]["payload"] == {"amount": 10}
    assert sink.effects == {f"{run_id}:after": 1}


def test_an_event_that_came_too_early_is_kept_for_one_run_alone(ada: Desk) -> None:
    workflow, order = ada.save(wait_for("early")), new_id()
    early = ada.post("/events", {"type": "early", "correlation_id": order, "id": order})

    first = ada.ended(ada.start(workflow, {"id": order}))
    second = ada.start(workflow, {"id": order})
    ada.until(second, "waiting")

    assert early.json()["woken"] == 0
    assert (first["status"], first["output"]["id"]) == ("succeeded", order)
    assert ada.post("/events", {"type": "early", "correlation_id": order}).json()["woken"] == 1
    assert ada.ended(second)["status"] == "succeeded"


def test_an_event_wakes_and_starts_once_however_often_it_is_sent(ada: Desk) -> None:
    event_type = f"order-{new_id()}"
    listener = ada.save(
        {"type": "log", "config": {"message": "${{ input.id }}"}}, on_event={"type": event_type}
    )
    waiter = ada.save(wait_for(event_type))
    waiting = ada.start(waiter, {"id": "7"})
    ada.until(waiting, "waiting")
    event = {"type": event_type, "correlation_id": "7", "id": new_id()}

    answers = at_once([partial(ada.post, "/events", event)] * 100)

    assert sorted(answer.status_code for answer in answers) == [*[200] * 99, 202]
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1
    assert {answer.json()["id"] for answer in answers} == {event["id"]}
    assert ada.ended(waiting)["output"]["id"] == event["id"]
    assert ada.all_ended(listener, 1) == {"succeeded": 1}


def test_a_burst_of_events_wakes_exactly_its_runs(platform: Platform, ada: Desk) -> None:
    event_type = f"burst-{new_id()}"
    workflow = ada.save(wait_for(event_type))
    numbers = range(BURST + UNTOUCHED)
    run_ids = at_once([partial(ada.start, workflow, {"id": number}) for number in numbers])
    platform.until(lambda: platform.database.count(WAITING, type=event_type) == len(numbers))

    events = [
        {"type": event_type, "correlation_id": number, "payload": number} for number in range(BURST)
    ]
    answers = at_once([partial(ada.post, "/events", event) for event in events])
    platform.until_ended(run_ids[:BURST])

    assert [answer.json()["woken"] for answer in answers] == [1] * BURST
    rows = platform.database.rows(
        "SELECT id, status, output FROM runs WHERE workflow_id = :id", id=workflow["id"]
    )
    runs = {str(row["id"]): row for row in rows}
    assert [runs[run_id]["output"]["payload"] for run_id in run_ids[:BURST]] == list(range(BURST))
    assert {runs[run_id]["status"] for run_id in run_ids[BURST:]} == {"waiting"}
    stopped = ada.post("/runs/cancel", {"workflow_id": workflow["id"]}).json()
    assert sorted(stopped["run_ids"]) == sorted(run_ids[BURST:])
