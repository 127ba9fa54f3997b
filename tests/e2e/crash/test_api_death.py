"""The API dies between the commit of a run and its answer: whoever repeats the delivery finds the same run."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.crash.harness.platform import CALLERS, Platform, Workflow
from tests.e2e.crash.harness.scale import in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
RUN_BY_KEY = "SELECT id::text FROM runs WHERE idempotency_key = 'key:event-1'"


@in_flight(20)
def test_a_delivery_whose_answer_was_lost_finds_its_run_when_it_is_repeated(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = platform.workflow(platform.call_step("call", "/held"))
    platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    with (
        platform.database.standstill("runs", "NEW.status = 'queued'", at_commit=True),
        ThreadPoolExecutor(1) as caller,
    ):
        answer = caller.submit(platform.deliver, workflow, "event-1")
        platform.database.until_standing_still()

        platform.kill_api()
        assert isinstance(answer.exception(), httpx.TransportError)
    platform.until(lambda: platform.database.rows(RUN_BY_KEY) != [])
    (stored,) = platform.database.rows(RUN_BY_KEY)
    platform.api()
    repeated = platform.deliver(workflow, "event-1")
    sink.open()

    assert repeated.status_code == 200
    assert repeated.json()["run_id"] == stored["id"]
    assert repeated.json()["duplicate"]
    platform.accepted.append(stored["id"])
    platform.until_ended()
    assert sink.effects == {f"{run_id}:call": 1 for run_id in (*started, stored["id"])}


@in_flight(150)
def test_killed_under_load_every_key_is_one_run_once_all_deliveries_are_repeated(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = platform.workflow(platform.call_step("call"))
    keys = [f"event-{number}" for number in range(runs)]
    platform.worker()
    with ThreadPoolExecutor(CALLERS) as callers:
        first = [callers.submit(platform.deliver, workflow, key) for key in keys]
        enough = random.randrange(10, runs // 2)
        platform.until(lambda: len(platform.accepted) >= enough)

        platform.kill_api()
        answered = {
            key: future.result().json()["run_id"]
            for key, future in zip(keys, first, strict=True)
            if future.exception() is None
        }
    platform.api()
    repeated = deliver_all(platform, workflow, keys)

    assert 0 < len(answered) < runs
    assert {answer.status_code for answer in repeated} <= {200, 202}
    stored = {key: answer.json()["run_id"] for key, answer in zip(keys, repeated, strict=True)}
    assert stored.items() >= answered.items()
    platform.accepted = list(stored.values())
    platform.until_ended()
    assert sink.effects == {f"{run_id}:call": 1 for run_id in stored.values()}


def deliver_all(
    platform: Platform, workflow: Workflow, keys: Sequence[str]
) -> list[httpx.Response]:
    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(lambda key: platform.deliver(workflow, key), keys))
