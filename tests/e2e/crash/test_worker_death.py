"""A worker dies: between two steps, in the middle of one, before and after a commit, politely, or only seemingly."""

import signal

import pytest

from tests.e2e.crash.harness.platform import Platform, Workflow
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
RUNS = 10
FIRST_DONE = "NEW.path = 'first' AND NEW.status = 'succeeded'"


def two_calls(platform: Platform, second: str = "/") -> Workflow:
    return platform.workflow(platform.call_step("first"), platform.call_step("second", second))


def test_a_step_that_was_interrupted_runs_once_more_with_the_same_key(
    platform: Platform, sink: Sink
) -> None:
    workflow = two_calls(platform, "/held")
    worker = platform.worker()
    run_id = platform.trigger(workflow)
    platform.until(lambda: sink.holding == 1)

    worker.kill()
    sink.open()
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": 1}
    assert platform.database.attempts(run_id) == [
        ("first", 1, "succeeded"),
        ("second", 1, "lost"),
        ("second", 2, "succeeded"),
    ]
    assert sink.effects == {f"{run_id}:first": 1, f"{run_id}:second": 2}


def test_a_kill_after_the_commit_of_a_step_was_sent_does_not_repeat_it(
    platform: Platform, sink: Sink
) -> None:
    workflow = two_calls(platform)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=True):
        worker = platform.worker()
        run_id = platform.trigger(workflow)
        platform.database.until_standing_still()

        worker.kill()
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": 1}
    assert sink.effects == {f"{run_id}:first": 1, f"{run_id}:second": 1}
    assert platform.database.attempts(run_id)[0] == ("first", 1, "succeeded")


def test_a_kill_before_the_commit_of_a_step_repeats_it_once(platform: Platform, sink: Sink) -> None:
    workflow = two_calls(platform)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=False):
        worker = platform.worker()
        run_id = platform.trigger(workflow)
        platform.database.until_standing_still()

        worker.kill()
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": 1}
    assert sink.effects == {f"{run_id}:first": 2, f"{run_id}:second": 1}
    assert platform.database.attempts(run_id) == [
        ("first", 1, "lost"),
        ("first", 2, "succeeded"),
        ("second", 1, "succeeded"),
    ]


def test_a_frozen_worker_that_wakes_up_late_changes_nothing(platform: Platform, sink: Sink) -> None:
    workflow = two_calls(platform, "/held")
    frozen = platform.worker()
    run_id = platform.trigger(workflow)
    platform.until(lambda: sink.holding == 1)
    frozen.send(signal.SIGSTOP)
    successor = platform.worker()
    platform.until(lambda: sink.holding == 2)
    sink.open()
    platform.until_ended()
    story = "SELECT r.*, s.* FROM runs r JOIN steps s ON s.run_id = r.id ORDER BY s.seq, s.attempt"
    before = platform.database.rows(story)

    frozen.send(signal.SIGCONT)
    platform.registered(frozen, successor)
    frozen.until_said("lease_lost")

    assert platform.database.rows(story) == before
    assert platform.statuses() == {"succeeded": 1}
    assert sink.effects == {f"{run_id}:first": 1, f"{run_id}:second": 2}
    successor.kill()
    platform.trigger(workflow)
    platform.until_ended()
    assert platform.statuses() == {"succeeded": 2}


def test_a_worker_that_is_told_to_stop_hands_its_runs_on(platform: Platform, sink: Sink) -> None:
    workflow = two_calls(platform, "/held")
    leaving = platform.worker()
    runs = platform.trigger_many(workflow, RUNS)
    platform.until(lambda: sink.holding == RUNS)
    successor = platform.worker()
    platform.registered(leaving, successor)

    leaving.send(signal.SIGTERM)
    exit_code = leaving.until_ended(seconds=8)
    platform.until(lambda: all(sink.effects[f"{run_id}:second"] == 2 for run_id in runs))
    sink.open()
    platform.until_ended()

    assert exit_code == 0
    assert platform.statuses() == {"succeeded": RUNS}
    assert platform.database.workers() == {successor.pid}
    for run_id in runs:
        assert platform.database.attempts(run_id) == [
            ("first", 1, "succeeded"),
            ("second", 1, "lost"),
            ("second", 2, "succeeded"),
        ]
        assert sink.effects[f"{run_id}:first"] == 1
    codes = "SELECT DISTINCT error ->> 'code' AS code FROM steps WHERE status = 'lost'"
    assert platform.database.rows(codes) == [{"code": "worker_stopped"}]


def test_a_worker_that_is_told_to_stop_lets_short_steps_end(platform: Platform, sink: Sink) -> None:
    workflow = two_calls(platform, "/held")
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


def test_a_worker_that_is_told_to_stop_while_a_commit_hangs_repeats_no_committed_step(
    platform: Platform, sink: Sink
) -> None:
    workflow = two_calls(platform)
    with platform.database.standstill("steps", FIRST_DONE, at_commit=True):
        leaving = platform.worker(SHUTDOWN_SECONDS="0")
        runs = platform.trigger_many(workflow, RUNS)
        platform.database.until_standing_still()

        leaving.send(signal.SIGTERM)
        leaving.until_said("worker_stopping")
    exit_code = leaving.until_ended()
    platform.worker()
    platform.until_ended()

    assert exit_code == 0
    assert platform.statuses() == {"succeeded": RUNS}
    succeeded = (
        "SELECT run_id || ':' || path AS key FROM steps WHERE status = 'succeeded' AND attempt = 1"
    )
    once = [row["key"] for row in platform.database.rows(succeeded)]
    assert len(once) >= 1
    assert {sink.effects[key] for key in once} == {1}
    assert all(sink.effects[f"{run_id}:second"] == 1 for run_id in runs)
