"""Postgres dies under load, and stays away for longer than a lease."""

import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from app.embedded.postgres import EmbeddedPostgres
from tests.e2e.crash.harness.platform import CALLERS, LEASE_SECONDS, Platform, Workflow
from tests.e2e.crash.harness.scale import IN_FLIGHT, in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
CRASH = signal.SIGQUIT
"""What PostgreSQL calls an immediate shutdown."""
FAST_SHUTDOWN = signal.SIGINT


@pytest.mark.parametrize(
    ("how", "runs"),
    [
        (CRASH, 20),
        pytest.param(CRASH, IN_FLIGHT, marks=pytest.mark.long),
        pytest.param(FAST_SHUTDOWN, IN_FLIGHT, marks=pytest.mark.long),
    ],
    ids=["crash-few", "crash-many", "fast_shutdown-many"],
)
def test_restarted_under_load_postgres_keeps_what_was_accepted_and_the_rest_is_refused(
    platform: Platform, sink: Sink, postgres: EmbeddedPostgres, how: signal.Signals, runs: int
) -> None:
    workflow = platform.workflow(platform.call_step("first"), platform.call_step("second"))
    held = platform.workflow(platform.call_step("first", "/held"), platform.call_step("second"))
    worker = platform.worker()
    platform.trigger_many(held, runs)
    platform.until(lambda: sink.holding == runs)
    with load(platform, workflow) as answers:
        platform.until(lambda: len(platform.accepted) > runs + 100)
        end(postgres, platform, how)
        sink.open()
        platform.until(lambda: any(answer.status_code == 503 for answer in list(answers.values())))
        postgres.start()
        before = len(platform.accepted)
        platform.until(lambda: len(platform.accepted) > before + 50)

    refused = {key: answer for key, answer in answers.items() if answer.status_code != 202}
    assert {answer.status_code for answer in refused.values()} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused.values())
    for key in refused:  # whether it was stored is unknown: the key makes repeating it safe
        again = platform.deliver(workflow, key)
        assert again.status_code in (200, 202)
        if again.status_code == 200:
            platform.accepted.append(again.json()["run_id"])
    platform.until_ended()
    assert platform.statuses() == {"succeeded": runs + len(answers)}
    assert set(sink.effects.values()) == {1}
    assert not worker.has_ended()


@in_flight(20)
def test_an_outage_longer_than_a_lease_repeats_no_step_of_a_living_worker(
    platform: Platform, sink: Sink, postgres: EmbeddedPostgres, runs: int
) -> None:
    workflow = platform.workflow(platform.call_step("first", "/held"), platform.call_step("second"))
    workers = [platform.worker(), platform.worker()]
    platform.registered(*workers)
    platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)

    end(postgres, platform, CRASH)
    sink.open()
    threading.Event().wait(1.5 * LEASE_SECONDS)
    postgres.start()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    assert set(sink.effects.values()) == {1}
    assert not any(worker.has_ended() for worker in workers)


def test_a_worker_that_is_told_to_stop_while_postgres_is_away_goes_in_time(
    platform: Platform, sink: Sink, postgres: EmbeddedPostgres
) -> None:
    worker = platform.worker(SHUTDOWN_SECONDS="0")
    platform.trigger(platform.workflow(platform.call_step("call", "/held")))
    platform.until(lambda: sink.holding == 1)
    end(postgres, platform, CRASH)

    worker.send(signal.SIGTERM)
    exit_code = worker.until_ended(seconds=10)
    postgres.start()
    platform.worker()
    sink.open()
    platform.until_ended()

    assert exit_code == 0
    assert "Traceback" not in worker.said()
    assert platform.statuses() == {"succeeded": 1}


def end(postgres: EmbeddedPostgres, platform: Platform, how: signal.Signals) -> None:
    """End it, and wait until it is gone."""
    postgres.send(how)
    platform.until(postgres.has_ended)


@contextmanager
def load(platform: Platform, workflow: Workflow) -> Iterator[Mapping[str, httpx.Response]]:
    """Deliver again and again, several at once; yields the answers by key."""
    answers: dict[str, httpx.Response] = {}
    stop = threading.Event()

    def deliver(caller: int) -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            key = f"event-{caller}-{number}"
            answers[key] = platform.deliver(workflow, key)

    with ThreadPoolExecutor(CALLERS) as callers:
        futures = [callers.submit(deliver, number) for number in range(CALLERS)]
        try:
            yield answers
        finally:
            stop.set()
    for future in futures:
        future.result()
