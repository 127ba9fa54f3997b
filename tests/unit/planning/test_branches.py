"""Chains, branches, joins, error branches and conditions: which steps start, which are skipped, how the run ends."""

from datetime import timedelta

import pytest

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.planning.board import MAX_PARALLEL_ATTEMPTS
from app.engine.planning.decision import Wait
from app.engine.planning.transitions import Failed, Succeeded
from tests.unit.planning.play import START, Play, condition, step

DONE = Succeeded(None, "out")
FAILED = Failed("boom", "It broke.", again=False)
RETRY = {"max_attempts": 3, "initial_delay_seconds": 5}


def test_steps_run_one_after_the_other_and_the_last_output_is_the_runs() -> None:
    play = Play(step("a"), step("b", "a"))

    assert play.starts == ["a"]
    assert play.done("a", output=1).starts == ["b"]
    assert play.done("b", output=2).output == 2


def test_a_started_step_is_recorded_as_running_in_the_same_decision() -> None:
    play = Play(step("a"))

    assert play.last.changes == play.last.started
    assert play.status("a") is AttemptStatus.RUNNING
    assert list(play.board.running) == ["a"]


def test_independent_steps_start_together() -> None:
    play = Play(step("a"), step("b"), step("c", "a", "b"))

    assert play.starts == ["a", "b"]
    assert play.done("a").starts == []
    assert play.done("b").starts == ["c"]


def test_several_ends_give_an_object_of_the_outputs_that_there_are() -> None:
    play = Play(condition("a"), step("b", "a"), step("c", "a.true"), step("d", "a.false"))
    play.done("a", port="true")

    assert play.done("b", "c", output=1).output == {"b": 1, "c": 1}


def test_a_step_all_of_whose_edges_are_dead_is_skipped_and_so_is_what_follows() -> None:
    play = Play(condition("a"), step("b", "a.false"), step("c", "b"), step("d", "a.true"))

    play.done("a", port="true")

    assert play.starts == ["d"]
    assert play.skipped == ["b", "c"]


def test_a_join_of_all_waits_for_every_edge_and_needs_one_that_is_taken() -> None:
    play = Play(condition("a"), step("b", "a.true"), step("c", "a.false"), step("d", "b", "c"))

    assert play.done("a", port="true").starts == ["b"]
    assert play.done("b").starts == ["d"]


def test_a_join_of_any_starts_once_at_the_first_edge_that_is_taken() -> None:
    play = Play(step("a"), step("b"), step("c", "a", "b", join="any"))

    assert play.done("a").starts == ["c"]
    assert play.done("c", output=1).last.end is None
    assert play.done("b", output=2).output == 1
    assert play.board.upstream("c") == {"a": None, "b": 2}


def test_a_join_of_any_is_skipped_when_no_edge_was_taken() -> None:
    play = Play(step("a"), step("b"), step("c", "a", "b", join="any"))

    play.done("a", "b", port=None)

    assert play.skipped == ["c"]


def test_a_stopped_branch_skips_what_follows_and_its_output_is_the_runs() -> None:
    play = Play(step("a"), step("b", "a"), step("c", "b"))

    play.done("a", port=None, output=7)

    assert (play.skipped, play.output) == (["b", "c"], 7)


def test_the_output_of_a_stopped_graph_does_not_depend_on_which_step_was_faster() -> None:
    play = Play(step("a"), step("b"), step("c", "a.failed", "b.failed"))

    assert play.done("b", output="b").done("a", output="a").output == "b"


def test_a_run_in_which_nothing_succeeded_has_no_output() -> None:
    assert Play(step("a", when="false")).output is None


def test_outputs_upstream_stand_in_the_order_of_the_definition() -> None:
    play = Play(step("x"), step("late", "x"), step("early"), step("end", "early", "late"))
    play.done("x", "early").done("late")

    assert list(play.board.upstream("end")) == ["late", "early"]


def test_an_unhandled_failure_ends_the_run_and_names_the_step() -> None:
    play = Play(step("a"), step("b", "a"))

    assert play.failed("a").error == {"step": "a", "code": "boom", "message": "It broke."}


def test_after_an_unhandled_failure_nothing_new_starts_but_what_runs_goes_on() -> None:
    play = Play(step("a"), step("b"), step("c", "b"))

    assert play.failed("a").last.end is None
    assert play.done("b").error["step"] == "a"
    assert "c" not in play.board.record


def test_of_two_failures_the_first_is_named() -> None:
    play = Play(step("a"), step("b"), step("c"))

    play.failed("b").failed("a")

    assert play.done("c").error["step"] == "b"
    assert play.rebuilt().look().error["step"] == "b"


def test_an_error_branch_is_taken_when_the_step_fails_and_the_run_succeeds() -> None:
    play = Play(step("a"), step("ok", "a"), step("mend", "a.failed"), step("tidy", "a.always"))

    play.failed("a")

    assert play.starts == ["mend", "tidy"]
    assert play.skipped == ["ok"]
    assert play.done("mend", "tidy", output=1).output == {"mend": 1, "tidy": 1}


def test_an_error_branch_is_dead_when_the_step_succeeds() -> None:
    play = Play(step("a"), step("ok", "a"), step("mend", "a.failed"), step("tidy", "a.always"))

    play.done("a")

    assert (play.starts, play.skipped) == (["ok", "tidy"], ["mend"])


def test_a_step_that_may_fail_lets_its_plain_edges_go_on_and_no_port() -> None:
    play = Play(condition("a", on_error="continue"), step("b", "a"), step("c", "a.true"))

    play.failed("a")

    assert (play.starts, play.skipped) == (["b"], ["c"])


def test_a_step_whose_when_is_false_is_skipped_and_downstream_goes_on() -> None:
    steps = (condition("a", when="input.n > 3"), step("b", "a"), step("c", "a.true"))

    play = Play(*steps, step("d", "a.always"), step("e", "a.failed"))

    assert play.starts == ["b", "d"]
    assert sorted(play.skipped) == ["a", "c", "e"]


def test_a_step_whose_when_is_true_runs() -> None:
    assert Play(step("a", when="input.n == 3")).starts == ["a"]


@pytest.mark.parametrize(
    ("when", "code"), [("input.n", "type_mismatch"), ("input.m > 1", "unknown_path")]
)
def test_a_when_that_is_no_question_fails_the_step(when: str, code: str) -> None:
    assert Play(step("a", when=when)).error["code"] == code


def test_expressions_see_the_steps_that_are_settled_and_the_time_of_the_start() -> None:
    play = Play(step("a"), step("b", "a")).done("a", output={"x": 1})

    scope = play.board.scope("b")

    assert scope["steps"] == {"a": {"output": {"x": 1}, "status": "succeeded", "error": None}}
    assert scope["now"] == "2026-11-21T00:00:01.000Z"
    assert scope["input"] == {"n": 3}


def test_a_failed_attempt_that_is_to_be_repeated_is_parked_until_it_is_due() -> None:
    play = Play(step("a", retry=RETRY)).failed("a", again=True)
    until = START + timedelta(seconds=6)

    assert play.last.waits == (Wait("a", "retry", until),)
    assert play.wait(2).starts == []
    assert play.wait(3).starts == ["a"]
    assert (play.board.record["a"].attempt, play.board.record["a"].seq) == (2, 0)


def test_while_a_step_waits_for_its_retry_others_go_on() -> None:
    play = Play(step("a", retry=RETRY), step("b"), step("c", "b")).failed("a", again=True)

    assert play.done("b").starts == ["c"]
    assert play.done("c").last.end is None


def test_a_failure_gives_up_the_retries_that_are_parked() -> None:
    play = Play(step("a", retry=RETRY), step("b")).failed("a", again=True)

    assert play.failed("b").error["step"] == "b"


def test_after_a_failure_a_failed_attempt_is_not_repeated() -> None:
    play = Play(step("a", retry=RETRY), step("b")).failed("b")

    assert play.failed("a", again=True).error["step"] == "b"


def test_a_rebuilt_board_does_not_repeat_what_was_given_up() -> None:
    play = Play(step("a", retry=RETRY), step("b"), step("c")).failed("a", again=True).failed("b")

    rebuilt = play.rebuilt().wait(60)

    assert rebuilt.starts == []
    assert list(rebuilt.board.running) == ["c"]


def test_a_rebuilt_board_begins_nothing_after_a_failure_that_is_recorded_deeper_down() -> None:
    steps = (step("a"), step("x"), step("long"), step("b", "a"), step("y", "x"))
    play = Play(*steps).done("x")
    play.look(play.end("a", DONE), play.end("y", FAILED))

    rebuilt = play.rebuilt().look()

    assert (rebuilt.starts, list(rebuilt.board.running)) == ([], ["long"])


def test_at_the_deadline_the_run_times_out_and_what_runs_is_cancelled() -> None:
    play = Play(step("a"), step("b"), timeout_seconds=2).done("a").wait(1)

    assert play.last.end is not None
    assert play.last.end.status is RunStatus.TIMED_OUT
    assert play.error["code"] == "run_timed_out"
    assert (play.status("a"), play.status("b")) == (
        AttemptStatus.SUCCEEDED,
        AttemptStatus.CANCELLED,
    )


def test_while_draining_nothing_new_begins_but_the_last_step_still_ends_the_run() -> None:
    play = Play(step("a"), step("b", "a"))

    play.look(play.end("a", DONE), start=False)

    assert (play.starts, play.last.end) == ([], None)
    assert play.look().starts == ["b"]
    assert play.look(play.end("b", DONE), start=False).output is None


def test_while_draining_a_retry_that_is_due_is_no_wait() -> None:
    play = Play(step("a", retry=RETRY), step("b")).failed("a", again=True)

    assert play.wait(60, start=False).last.waits == ()
    assert play.look().starts == ["a"]


def test_a_rebuilt_board_stands_where_the_run_stood() -> None:
    steps = (step("a"), step("b", retry=RETRY), step("c", "a"))
    play = Play(*steps).done("a").failed("b", again=True)

    rebuilt = play.rebuilt().look()

    assert (rebuilt.last.changes, list(rebuilt.board.running)) == ((), ["c"])
    assert rebuilt.last.waits == play.last.waits
    assert rebuilt.wait(60).starts == ["b"]


def test_so_many_attempts_run_at_the_same_time_and_the_rest_waits_for_its_turn() -> None:
    names = [f"s{number}" for number in range(MAX_PARALLEL_ATTEMPTS + 2)]
    play = Play(*(step(name, retry=RETRY) for name in names))

    assert play.starts == names[:-2]
    assert play.failed("s0", again=True).starts == [names[-2]]
    assert play.wait(60).last.waits == ()
    assert play.done("s1").starts == ["s0"]
    assert play.done("s2").starts == [names[-1]]


def test_numbers_of_steps_are_unique_over_rebuilds() -> None:
    play = Play(step("a"), step("b", "a")).rebuilt().look().done("a").rebuilt().look()

    assert [state.seq for state in play.board.record.values()] == [0, 1]
