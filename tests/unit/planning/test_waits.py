"""What becomes of steps that wait when the run fails beside them."""

from dataclasses import replace
from datetime import timedelta

from app.core.statuses import AttemptStatus, RunStatus, WaitKind
from app.engine.planning.record import Waiting
from app.engine.planning.transitions import Failed, Succeeded, Suspended
from tests.unit.planning.play import Play, step

NEVER = Suspended(Waiting(WaitKind.EVENT), {})
LOST = Failed("worker_lost", "The worker died.", again=False)


def waits_beside(*others: str) -> Play:
    play = Play(step("a"), *map(step, others))
    return play.look(play.end("a", NEVER))


def as_found(play: Play, *lost: str) -> Play:
    """Return the run as the next worker finds it: some attempts have died with the last one."""
    record = dict(play.board.record)
    for path in lost:
        record[path] = play.end(path, LOST)
    return play.rebuilt_from(record, {})


def test_a_step_that_waits_beside_one_that_was_lost_for_good_is_cancelled_with_the_run() -> None:
    play = as_found(waits_beside("b", "c"), "b", "c")

    play.look()

    assert play.last.end is not None
    assert play.last.end.status is RunStatus.FAILED
    assert [(state.path, state.status) for state in play.last.changes] == [
        ("a", AttemptStatus.CANCELLED)
    ]


def test_one_that_waits_beside_others_that_were_lost_goes_on_waiting_while_they_are_tried_again() -> (
    None
):
    play = waits_beside("b")
    again = replace(play.end("b", LOST), status=AttemptStatus.LOST, retry_at=play.now)
    play = play.rebuilt_from({**play.board.record, "b": again}, {})

    play.look()

    assert play.last.end is None
    assert [wait.path for wait in play.last.waits] == ["a"]
    assert [state.path for state in play.last.started] == ["b"]


def test_a_wait_that_ends_in_the_moment_of_a_failure_beside_it_counts_once() -> None:
    play = waits_beside("b", "c")
    failed = play.end("b", LOST)
    play.now += timedelta(seconds=1)

    play.look(failed, play.end("a", Succeeded(1, "out")))
    assert play.last.end is None
    assert play.board.record["a"].status is AttemptStatus.SUCCEEDED

    play.look(play.end("c", Succeeded(1, "out")))
    assert play.last.end is not None
    assert play.last.end.status is RunStatus.FAILED
