"""Loops: iterations in order and side by side, nested, stopped, failed, limited, and taken over by another worker."""

import pytest

from app.core.statuses import AttemptStatus
from app.engine.planning.transitions import Succeeded, interrupt
from tests.unit.planning.play import Play, for_each, step, while_

DONE = Succeeded(None, "out")
RETRY = {"max_attempts": 3, "initial_delay_seconds": 5}


def test_items_are_taken_one_after_the_other_unless_told_otherwise() -> None:
    play = Play(for_each("f", step("a")))

    assert play.starts == ["f[0].a"]
    assert play.done("f[0].a", output="x").starts == ["f[1].a"]
    assert play.done("f[1].a", output="y").starts == ["f[2].a"]
    assert play.done("f[2].a", output="z").output == ["x", "y", "z"]


def test_results_stand_in_the_order_of_the_items_whichever_is_faster() -> None:
    play = Play(for_each("f", step("a"), concurrency=2))

    assert play.starts == ["f[0].a", "f[1].a"]
    assert play.done("f[1].a", output=1).starts == ["f[2].a"]
    assert play.done("f[2].a", output=2).done("f[0].a", output=0).output == [0, 1, 2]


def test_the_body_sees_the_item_the_index_and_the_steps_around() -> None:
    play = Play(
        step("a"), for_each("f", step("b"), step("c", "b"), items="[7]") | {"depends_on": ["a"]}
    )

    scope = play.done("a", output=1).done("f[0].b", output=2).board.scope("f[0].c")

    assert (scope["item"], scope["index"]) == (7, 0)
    assert {name: seen["output"] for name, seen in scope["steps"].items()} == {"a": 1, "b": 2}


def test_loops_stand_within_loops() -> None:
    play = Play(for_each("f", for_each("g", step("a"), items="[item, item]"), items="[1, 2]"))

    for path in ("f[0].g[0].a", "f[0].g[1].a", "f[1].g[0].a"):
        play.done(path, output=path)

    assert play.done("f[1].g[1].a", output="end").output == [
        ["f[0].g[0].a", "f[0].g[1].a"],
        ["f[1].g[0].a", "end"],
    ]


def test_a_loop_over_nothing_is_done_at_once() -> None:
    play = Play(for_each("f", step("a"), items="[]"))

    assert play.output == []
    assert [state.status for state in play.last.changes] == [AttemptStatus.SUCCEEDED]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"items": "input.n"}, "loop_refused"),
        ({"items": "[1, 2]", "max_iterations": 1}, "loop_refused"),
        ({"items": "input.missing"}, "unknown_path"),
    ],
)
def test_items_that_cannot_be_looped_over_fail_the_loop(
    config: dict[str, object], code: str
) -> None:
    assert Play(for_each("f", step("a"), **config)).error["code"] == code


def test_a_failed_iteration_fails_the_loop_and_names_the_step() -> None:
    play = Play(for_each("f", step("a"))).failed("f[0].a")

    assert play.error == {
        "step": "f",
        "code": "boom",
        "message": "It broke.",
        "data": {"step": "f[0].a"},
    }


def test_when_an_iteration_fails_nothing_new_begins_in_the_others() -> None:
    play = Play(for_each("f", step("a"), step("b", "a"), for_each("g", step("c")), concurrency=2))

    play.failed("f[0].a")

    assert play.done("f[1].a", "f[0].g[0].c", "f[1].g[0].c").starts == []
    assert play.error["data"] == {"step": "f[0].a"}
    assert play.status("f[1].g") is AttemptStatus.CANCELLED


def test_when_an_iteration_fails_parked_retries_of_the_others_are_given_up() -> None:
    play = Play(for_each("f", step("a", retry=RETRY), concurrency=2)).failed("f[1].a", again=True)

    assert play.failed("f[0].a").error["data"] == {"step": "f[0].a"}


def test_a_failed_loop_may_be_handled() -> None:
    play = Play(for_each("f", step("a")), step("mend", "f.failed"))

    assert play.failed("f[0].a").starts == ["mend"]
    assert play.done("mend", output=1).output == 1


def test_told_to_go_on_a_loop_leaves_null_for_an_iteration_that_failed() -> None:
    play = Play(for_each("f", step("a"), on_item_error="continue", items="[1, 2]"))

    assert play.failed("f[0].a").starts == ["f[1].a"]
    assert play.failed("f[1].a").output == [None, None]


def test_a_failure_beside_a_loop_lets_it_begin_nothing_more_and_cancels_it() -> None:
    play = Play(for_each("f", step("a"), step("b", "a")), step("x")).failed("x")

    assert play.done("f[0].a").error["step"] == "x"
    assert play.status("f") is AttemptStatus.CANCELLED
    assert "f[0].b" not in play.board.record


def test_a_loop_stops_early_when_told() -> None:
    play = Play(for_each("f", step("a"), stop_when="output == 'found'")).done("f[0].a")

    assert play.done("f[1].a", output="found").output == [None, "found"]


def test_once_told_to_stop_a_loop_stops_whatever_the_iterations_still_open_bring() -> None:
    play = Play(for_each("f", step("a"), stop_when="index == 0", concurrency=2))

    assert play.done("f[0].a").starts == []
    assert play.done("f[1].a").output == [None, None]


def test_a_stop_when_that_is_no_question_fails_the_loop() -> None:
    play = Play(for_each("f", step("a"), stop_when="output")).done("f[0].a")

    assert play.error["code"] == "type_mismatch"


def test_a_while_loop_goes_on_as_long_as_its_condition_holds() -> None:
    play = Play(while_("w", step("a"), condition="index == 0 || last.more"))

    assert play.done("w[0].a", output={"more": True}).starts == ["w[1].a"]
    assert play.done("w[1].a", output={"more": False}).output == {
        "iterations": 2,
        "last": {"more": False},
    }


def test_a_while_loop_may_have_no_iteration() -> None:
    assert Play(while_("w", step("a"), condition="false")).output == {"iterations": 0, "last": None}


def test_a_while_condition_sees_the_steps_of_the_iteration_before() -> None:
    play = Play(while_("w", step("a"), condition="(steps?.a?.output ?? 0) < 2"))

    assert play.done("w[0].a", output=1).starts == ["w[1].a"]
    assert play.done("w[1].a", output=2).output["iterations"] == 2


@pytest.mark.parametrize(
    ("condition", "code"), [("index", "type_mismatch"), ("input.missing", "unknown_path")]
)
def test_a_while_condition_that_is_no_question_fails_the_loop(condition: str, code: str) -> None:
    assert Play(while_("w", step("a"), condition=condition)).error["code"] == code


def test_a_while_loop_without_end_fails_at_its_limit() -> None:
    play = Play(while_("w", step("a"), condition="true", max_iterations=2)).done("w[0].a")

    assert play.done("w[1].a").error["code"] == "loop_limit"


def test_another_worker_goes_on_with_the_iterations_that_are_open() -> None:
    play = Play(for_each("f", step("a"), concurrency=2)).done("f[1].a", output=1)

    rebuilt = play.rebuilt().look()

    assert rebuilt.last.changes == ()
    assert list(rebuilt.board.running) == ["f[0].a", "f[2].a"]
    assert rebuilt.done("f[0].a", "f[2].a", output=0).output == [0, 1, 0]


def test_another_worker_does_not_ask_again_for_iterations_that_have_begun() -> None:
    play = Play(while_("w", step("a"), condition="index < 2")).done("w[0].a").rebuilt().look()

    assert list(play.board.running) == ["w[1].a"]
    assert play.done("w[1].a").output["iterations"] == 2


def test_another_worker_keeps_iterations_that_were_open_when_the_loop_was_told_to_stop() -> None:
    play = Play(for_each("f", step("a"), concurrency=2, stop_when="index == 0", items="[1, 2, 3]"))
    play.done("f[1].a").done("f[0].a")

    rebuilt = play.rebuilt().look()

    assert list(rebuilt.board.running) == ["f[2].a"]
    assert len(rebuilt.done("f[2].a").output) == 3


def test_another_worker_does_not_enter_a_loop_that_is_over() -> None:
    play = Play(for_each("f", step("a"), items="[1]"), step("b", "f")).done("f[0].a", output=5)

    rebuilt = play.rebuilt().look()

    assert list(rebuilt.board.running) == ["b"]
    assert rebuilt.done("b").output is None


def test_another_worker_begins_what_the_one_before_was_draining_to_begin() -> None:
    play = Play(for_each("f", step("a"), items="[1, 2]"))
    play.look(play.end("f[0].a", DONE), start=False)

    assert play.rebuilt().look().starts == ["f[1].a"]


def test_another_worker_begins_nothing_in_a_level_that_a_failure_has_halted() -> None:
    body = (step("a"), step("c", "a", "w"), while_("w", step("b"), condition="index < 1"))
    play = Play(for_each("f", *body, concurrency=2, items="[1, 2]"), step("long"))
    play.done("f[1].a").failed("f[1].w[0].b").done("f[0].a")

    rebuilt = play.rebuilt().look()

    assert rebuilt.starts == []
    assert list(rebuilt.board.running) == ["long", "f[0].w[0].b"]


def test_past_the_deadline_another_worker_leaves_no_loop_open() -> None:
    play = Play(for_each("f", step("a")), timeout_seconds=5)
    record = {**play.board.record, "f[0].a": interrupt(play.board.record["f[0].a"], play.now)}
    play.board.record.update(record)

    rebuilt = play.rebuilt().wait(60)

    assert rebuilt.error["code"] == "run_timed_out"
    assert rebuilt.status("f") is AttemptStatus.CANCELLED


def test_an_iteration_whose_only_retry_is_given_up_is_over() -> None:
    loop = for_each("f", step("a", retry=RETRY), items="[1]")
    play = Play(loop, step("x")).failed("f[0].a", again=True)

    assert play.failed("x").error["step"] == "x"
    assert play.status("f") is AttemptStatus.CANCELLED


def test_an_iteration_whose_last_step_is_an_empty_loop_is_over_once() -> None:
    play = Play(for_each("f", for_each("g", step("a"), items="[]"), items="[1, 2]"))

    assert play.output == [[], []]


def test_another_worker_finds_out_that_a_loop_has_failed_before_it_begins_anything() -> None:
    loop = for_each("f", step("a"), step("x"), step("c", "a"), concurrency=2, items="[1, 2]")
    play = Play(loop).failed("f[1].x").done("f[1].a").done("f[0].a")

    rebuilt = play.rebuilt().look()

    assert (rebuilt.starts, list(rebuilt.board.running)) == ([], ["f[0].x"])
