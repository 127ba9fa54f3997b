"""A hundred duplicates at once through each door make one run; calls that wait are answered by their run."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from app.core.ids import new_id
from tests.e2e.control.desk import Desk, at_once
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
DUPLICATES = 100
RUNS = "SELECT count(*) FROM runs WHERE workflow_id = :id"
ECHO = {"id": "echo", "type": "transform", "config": {"value": "${{ input.id }}"}}
RESPOND = {
    "id": "answer",
    "type": "respond",
    "config": {
        "status": 201,
        "headers": {"X-Order": "${{ input.id }}"},
        "body": {"order": "${{ input.id }}"},
    },
}


@pytest.fixture
def outside() -> Iterator[httpx.Client]:
    """A third party, who has no account."""
    with httpx.Client(timeout=30) as client:
        yield client


def deliver(outside: httpx.Client, workflow: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return outside.post(workflow["webhook_url"], json={"id": "A-1"}, headers=named)


def key_in_header(ada: Desk, outside: httpx.Client) -> tuple[str, Callable[[], httpx.Response]]:
    workflow = ada.save(ECHO)
    return workflow["id"], partial(deliver, outside, workflow, Idempotency_Key="order-1")


def webhook_id(ada: Desk, outside: httpx.Client) -> tuple[str, Callable[[], httpx.Response]]:
    workflow = ada.save(ECHO)
    return workflow["id"], partial(deliver, outside, workflow, webhook_id="msg-1")


def key_by_expression(ada: Desk, outside: httpx.Client) -> tuple[str, Callable[[], httpx.Response]]:
    workflow = ada.save(ECHO, dedupe={"key": "input.id"})
    return workflow["id"], partial(deliver, outside, workflow)


def by_hand(ada: Desk, outside: httpx.Client) -> tuple[str, Callable[[], httpx.Response]]:
    del outside
    workflow = ada.save(ECHO)
    path, body = f"/workflows/{workflow['id']}/runs", {"input": {"id": "A-1"}}
    return workflow["id"], partial(ada.post, path, body, Idempotency_Key="order-1")


@pytest.mark.parametrize("door", [key_in_header, webhook_id, key_by_expression, by_hand])
def test_a_hundred_duplicates_at_once_are_one_run_that_all_answers_name(
    platform: Platform,
    ada: Desk,
    outside: httpx.Client,
    door: Callable[[Desk, httpx.Client], tuple[str, Callable[[], httpx.Response]]],
) -> None:
    workflow_id, call = door(ada, outside)

    answers = at_once([call] * DUPLICATES)
    run = ada.ended(answers[0].json()["run_id"])

    assert sorted(answer.status_code for answer in answers) == [*[200] * (DUPLICATES - 1), 202]
    assert {answer.json()["run_id"] for answer in answers} == {run["id"]}
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1
    assert platform.database.count(RUNS, id=workflow_id) == 1
    assert run["output"] == "A-1"


def test_a_hundred_equal_inputs_are_answered_with_the_run_that_has_succeeded(
    platform: Platform, ada: Desk, outside: httpx.Client
) -> None:
    workflow = ada.save(ECHO, dedupe={"by_input": True})
    run_id = deliver(outside, workflow).json()["run_id"]
    ada.until(run_id, "succeeded")

    answers = at_once([partial(deliver, outside, workflow)] * DUPLICATES)
    other = outside.post(workflow["webhook_url"], json={"id": "A-2"})

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["run_id"] for answer in answers} == {run_id}
    assert other.status_code == 202
    assert platform.database.count(RUNS, id=workflow["id"]) == 2


def test_a_trigger_without_a_key_is_never_swallowed(
    platform: Platform, ada: Desk, outside: httpx.Client
) -> None:
    keyless = ada.save(ECHO, dedupe={"key": "input?.order ?? ''"})

    answers = at_once([partial(deliver, outside, keyless)] * DUPLICATES)

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run_id"] for answer in answers}) == DUPLICATES
    assert ada.all_ended(keyless, DUPLICATES) == {"succeeded": DUPLICATES}
    assert platform.database.count(RUNS, id=keyless["id"]) == DUPLICATES


def test_a_call_that_waits_is_answered_by_its_run_while_that_goes_on(
    platform: Platform, ada: Desk, sink: Sink, outside: httpx.Client
) -> None:
    workflow = ada.save(RESPOND, platform.call_step("slow", "/held"))

    answer = deliver(outside, workflow, Prefer="wait=20", Idempotency_Key="order-1")
    run_id = answer.headers["x-run-id"]
    platform.until(lambda: sink.holding == 1)
    status = ada.status(run_id)
    again = deliver(outside, workflow, Prefer="wait=20", Idempotency_Key="order-1")
    sink.open()

    assert (answer.status_code, answer.json()) == (201, {"order": "A-1"})
    assert answer.headers["x-order"] == "A-1"
    assert status == "running"
    assert (again.status_code, again.json()) == (201, {"order": "A-1"})
    assert ada.ended(run_id)["status"] == "succeeded"
    assert sink.effects == {f"{run_id}:slow": 1}


def test_a_call_that_waits_too_shortly_is_told_which_run_it_has_started(
    platform: Platform, ada: Desk, sink: Sink, outside: httpx.Client
) -> None:
    workflow = ada.save(platform.call_step("slow", "/held"), RESPOND)

    answer = deliver(outside, workflow, Prefer="wait=1")
    run_id = answer.json()["run_id"]
    meanwhile = ada.status(run_id)
    sink.open()

    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    assert meanwhile == "running"
    assert answer.elapsed.total_seconds() >= 1
    assert ada.ended(run_id)["status"] == "succeeded"


def test_a_start_by_hand_that_waits_gets_the_output_or_the_error(ada: Desk) -> None:
    broken = ada.save({"type": "fail", "config": {"message": "Out of tea", "code": "no_tea"}})
    body, wait = {"input": {"id": new_id()}}, "wait=20"

    good = ada.post(f"/workflows/{ada.save(ECHO)['id']}/runs", body, Prefer=wait)
    bad = ada.post(f"/workflows/{broken['id']}/runs", body, Prefer=wait)

    assert (good.status_code, good.json()["output"]) == (200, body["input"]["id"])
    assert (bad.status_code, bad.json()["status"]) == (200, "failed")
    assert bad.json()["error"]["code"] == "no_tea"
