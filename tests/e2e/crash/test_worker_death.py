"""A worker dies: between two steps, in the middle of one, around a commit, at random, politely, or only seemingly."""

import random
import signal
from collections.abc import Callable
from itertools import chain

import pytest
from redis import Redis

from app.embedded.redis import EmbeddedRedis
from app.engine.delivery.dispatch import Dispatcher
from tests.e2e.crash.harness.platform import Platform, Workflow
from tests.e2e.crash.harness.programs import Process
from tests.e2e.crash.harness.scale import in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
FIRST_DONE = "NEW.path = 'first' AND NEW.status = 'succeeded'"
CLAIMED = "NEW.status = 'running'"
UNDISTURBED = (("first", 1, "succeeded"), ("second", 1, "succeeded"))
FIRST_LOST = (("first", 1, "lost"), ("first", 2, "succeeded"), ("second", 1, "succeeded"))
SECOND_LOST = (("first", 1, "succeeded"), ("second", 1, "lost"), ("second", 2, "succeeded"))
STORY = (
    "SELECT r.*, s.* FROM runs r JOIN steps s ON s.run_id = r.id ORDER BY r.id, s.seq, s.attempt"
)


def two_calls(platform: Platform, first: str = "/", second: str = "/") -> Workflow:
    return platform.workflow(
        platform.call_step("first", first), platform.call_step("second", second)
    )


def effects_of(runs: list[str], first: int, second: int) -> dict[str, int]:
    return {f"{run}:first": first for run in runs} | {f"{run}:second": second for run in runs}


def wake_up(platform: Platform, frozen: Process, late_writes: int) -> None:
    """Let a worker go on that was taken for dead; it learns so only after it has tried its late writes."""
    with platform.database.read_only("workers"):
        frozen.send(signal.SIGCONT)
        platform.until(lambda: frozen.said().count("run_taken_over") == late_writes)
    frozen.until_said("lease_lost")


def seen(sink: Sink, effects: int) -> Callable[[], bool]:
    return lambda: sum(sink.effects.values()) >= effects


@in_flight(10)
def test_steps_that_were_interrupted_run_once_more_with_the_same_key(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform, second="/held")
    worker = platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)

    worker.kill()
    sink.open()
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    assert set(platform.database.histories().values()) == {SECOND_LOST}
    assert sink.effects == effects_of(started, first=1, second=2)


@in_flight(10)
def test_a_kill_after_the_commit_of_a_step_was_sent_does_not_repeat_it(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform, first="/held")
    worker = platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=True):
        sink.open()
        platform.database.until_standing_still()

        worker.kill()
    platform.worker()
    platform.until_ended()

    histories = platform.database.histories()
    committed = [run for run in started if histories[run] == SECOND_LOST]
    others = [run for run in started if histories[run] == FIRST_LOST]
    assert len(committed) > 0
    assert sorted(committed + others) == sorted(started)
    assert sink.effects == effects_of(committed, 1, 1) | effects_of(others, 2, 1)


@in_flight(10)
def test_a_kill_before_the_commit_of_a_step_repeats_it_once(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform, first="/held")
    worker = platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=False):
        sink.open()
        platform.database.until_standing_still()

        worker.kill()
    platform.worker()
    platform.until_ended()

    assert set(platform.database.histories().values()) == {FIRST_LOST}
    assert sink.effects == effects_of(started, first=2, second=1)


@pytest.mark.parametrize(
    ("at_commit", "history"), [(True, FIRST_LOST), (False, UNDISTURBED)], ids=["after", "before"]
)
@in_flight(10)
def test_a_kill_around_the_commit_of_a_claim_starts_every_step_once(
    platform: Platform,
    sink: Sink,
    redis: EmbeddedRedis,
    runs: int,
    at_commit: bool,
    history: object,
) -> None:
    worker = platform.worker()
    platform.registered(worker)
    with platform.database.standstill("runs", CLAIMED, at_commit=at_commit):
        started = platform.trigger_many(two_calls(platform), runs)
        platform.database.until_standing_still()

        worker.kill()
    with Redis.from_url(redis.url) as client:
        assert Dispatcher(client).dispatch(started)
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    histories = list(platform.database.histories().values())
    assert history in histories
    assert set(histories) <= {history, UNDISTURBED}
    assert sink.effects == effects_of(started, first=1, second=1)


@in_flight(100)
def test_workers_that_are_killed_at_random_moments_lose_no_run(
    platform: Platform, sink: Sink, runs: int
) -> None:
    platform.trigger_many(two_calls(platform, second="/held"), runs)
    workers = [platform.worker(), platform.worker()]
    moments = sorted(random.sample(range(1, runs), len(workers)))

    for worker, moment in zip(workers, moments, strict=True):
        platform.until(seen(sink, moment))
        worker.kill()
        platform.worker()
    sink.open()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    assert len(sink.effects) == 2 * runs
    assert "lost" in {status for _, _, status in chain(*platform.database.histories().values())}


@in_flight(10)
def test_a_frozen_worker_that_wakes_up_when_all_is_over_changes_nothing(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform, second="/held")
    frozen = platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    frozen.send(signal.SIGSTOP)
    successor = platform.worker()
    platform.until(lambda: sink.holding == 2 * runs)
    sink.open()
    platform.until_ended()
    before = platform.database.rows(STORY)

    wake_up(platform, frozen, late_writes=runs)
    platform.registered(frozen, successor)

    assert platform.database.rows(STORY) == before
    assert set(platform.database.histories().values()) == {SECOND_LOST}
    assert sink.effects == effects_of(started, first=1, second=2)
    successor.kill()
    platform.trigger(workflow)
    platform.until_ended()
    assert platform.statuses() == {"succeeded": runs + 1}


@in_flight(10)
def test_a_frozen_worker_that_wakes_up_while_its_runs_go_on_elsewhere_changes_nothing(
    platform: Platform, sink: Sink, runs: int
) -> None:
    third = platform.call_step("third", "/held/third")
    calls = platform.call_step("first"), platform.call_step("second", "/held/second"), third
    frozen = platform.worker()
    started = platform.trigger_many(platform.workflow(*calls), runs)
    platform.until(lambda: sink.holding == runs)
    frozen.send(signal.SIGSTOP)
    successor = platform.worker()
    platform.until(lambda: sink.holding == 2 * runs)
    sink.open("/held/second")
    platform.until(lambda: all(sink.effects[f"{run}:third"] == 1 for run in started))
    before = platform.database.rows(STORY)

    wake_up(platform, frozen, late_writes=runs)
    platform.registered(frozen, successor)

    assert platform.database.rows(STORY) == before
    sink.open("/held/third")
    platform.until_ended()
    assert set(platform.database.histories().values()) == {
        (*SECOND_LOST, ("third", 1, "succeeded"))
    }
    assert all(sink.effects[f"{run}:third"] == 1 for run in started)


@in_flight(10)
def test_a_worker_that_is_told_to_stop_hands_its_runs_on(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform, second="/held")
    leaving = platform.worker()
    started = platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    successor = platform.worker()
    platform.registered(leaving, successor)

    leaving.send(signal.SIGTERM)
    exit_code = leaving.until_ended(seconds=8)
    platform.until(lambda: all(sink.effects[f"{run}:second"] == 2 for run in started))
    sink.open()
    platform.until_ended()

    assert exit_code == 0
    assert platform.statuses() == {"succeeded": runs}
    assert platform.database.workers() == {successor.pid}
    assert set(platform.database.histories().values()) == {SECOND_LOST}
    assert sink.effects == effects_of(started, first=1, second=2)
    codes = "SELECT DISTINCT error ->> 'code' AS code FROM steps WHERE status = 'lost'"
    assert platform.database.rows(codes) == [{"code": "worker_stopped"}]


def test_a_worker_that_is_told_to_stop_lets_short_steps_end(platform: Platform, sink: Sink) -> None:
    workflow = two_calls(platform, second="/held")
    leaving = platform.worker(SHUTDOWN_SECONDS="20")
    run_id = platform.trigger(workflow)
    platform.until(lambda: sink.holding == 1)

    leaving.send(signal.SIGTERM)
    leaving.until_said("worker_stopping")
    sink.open()
    exit_code = leaving.until_ended()

    assert exit_code == 0
    assert platform.statuses() == {"succeeded": 1}
    assert sink.effects == {f"{run_id}:first": 1, f"{run_id}:second": 1}


@in_flight(10)
def test_a_worker_that_is_told_to_stop_while_a_commit_hangs_repeats_no_committed_step(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = two_calls(platform)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=True):
        leaving = platform.worker(SHUTDOWN_SECONDS="0")
        started = platform.trigger_many(workflow, runs)
        platform.database.until_standing_still()

        leaving.send(signal.SIGTERM)
        leaving.until_said("runs_interrupted")
    exit_code = leaving.until_ended()
    platform.worker()
    platform.until_ended()

    assert exit_code == 0
    assert platform.statuses() == {"succeeded": runs}
    succeeded = (
        "SELECT run_id || ':' || path AS key FROM steps WHERE status = 'succeeded' AND attempt = 1"
    )
    once = [row["key"] for row in platform.database.rows(succeeded)]
    assert len(once) >= 1
    assert {sink.effects[key] for key in once} == {1}
    assert all(sink.effects[f"{run}:second"] == 1 for run in started)
