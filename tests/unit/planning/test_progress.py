"""From a decision to what is written down."""

from datetime import timedelta

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.planning.progress import progress
from tests.unit.planning.test_planner import LATER, NOW, done, plan, record, state


def test_a_started_step_is_recorded_as_running_before_it_runs() -> None:
    step = progress(plan("a", "b"), record(done("a")), NOW, None)

    assert step.started == step.changes == (step.record["b"],)
    assert step.record["b"].status is AttemptStatus.RUNNING
    assert not step.idle


def test_a_repeated_attempt_keeps_its_place_in_the_order() -> None:
    failed = state("a", AttemptStatus.FAILED, seq=0, retry_at=NOW)

    (started,) = progress(plan("a", "b"), record(failed), NOW, None).started

    assert (started.attempt, started.seq) == (2, 0)


def test_skipped_steps_are_recorded_with_the_end() -> None:
    step = progress(plan("a", "b"), record(done("a", port=None)), NOW, None)

    assert [change.status for change in step.changes] == [AttemptStatus.SKIPPED]
    assert step.end is not None
    assert step.end.status is RunStatus.SUCCEEDED
    assert not step.idle


def test_a_run_that_only_waits_is_idle() -> None:
    step = progress(plan("a"), record(state("a", AttemptStatus.FAILED, retry_at=LATER)), NOW, None)

    assert step.idle
    assert [wait.until for wait in step.waits] == [LATER]


def test_what_runs_when_the_time_is_up_is_cancelled() -> None:
    running = record(state("a", AttemptStatus.RUNNING))

    step = progress(plan("a", timeout=1), running, NOW, NOW - timedelta(seconds=1))

    assert [change.status for change in step.changes] == [AttemptStatus.CANCELLED]
    assert step.record["a"].status is AttemptStatus.CANCELLED
