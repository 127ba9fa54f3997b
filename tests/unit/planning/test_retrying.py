"""Which steps start anew when a run goes on from one of its steps."""

from collections.abc import Iterable
from typing import Any

from app.core.statuses import AttemptStatus
from app.engine.planning.retrying import Anew, go_on_from, loops_around, place_of
from tests.unit.planning.play import Play, for_each, step


def going_on(play: Play, path: str | None, *, whole_loop: bool = False) -> Anew:
    return go_on_from(play.plan, play.board.record, path, whole_loop=whole_loop)


def superseded(play: Play, path: str | None, *, whole_loop: bool = False) -> set[str]:
    return set(going_on(play, path, whole_loop=whole_loop).superseded)


def edges(*pairs: str) -> list[dict[str, Any]]:
    return [dict(zip(("source", "target"), pair.split(), strict=True)) for pair in pairs]


def nodes(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"id": name, "type": "log", "config": {"message": "x"}} for name in names]


def test_the_step_and_what_comes_after_it_start_anew() -> None:
    play = Play(step("a"), step("b", "a"), step("c", "b"), step("beside", "a"))
    play.done("a").done("beside").failed("b")

    assert superseded(play, "b") == {"b", "c"}
    assert superseded(play, None) == {"b", "c"}


def test_an_error_branch_that_was_taken_and_what_was_skipped_start_anew() -> None:
    play = Play(step("a"), step("good", "a"), step("mend", "a.failed"), step("bad", "mend"))
    play.failed("a").done("mend").failed("bad")

    assert superseded(play, "a") == {"a", "good", "mend", "bad"}
    assert superseded(play, "bad") == {"bad"}


def test_another_failure_that_would_end_the_run_is_tried_again_as_well() -> None:
    play = Play(step("a"), step("b")).failed("a", "b")

    assert superseded(play, "a") == {"a", "b"}


def test_another_failure_that_was_handled_stays() -> None:
    handled = step("handled", on_error="continue")
    play = Play(step("a"), handled, step("after", "handled")).failed("handled").done("after")
    play.failed("a")

    assert superseded(play, "a") == {"a"}


def test_what_was_interrupted_starts_anew() -> None:
    play = Play(step("a"), for_each("each", step("x"), concurrency=3)).done("each[0].x")
    play.failed("a").done("each[1].x", "each[2].x")

    anew = going_on(play, "a")

    assert play.status("each") is AttemptStatus.CANCELLED
    assert anew.superseded == {"a", "each"}
    assert [(loop.path, loop.attempt, loop.status) for loop in anew.reopened] == [
        ("each", 2, AttemptStatus.RUNNING)
    ]


def test_a_step_within_a_loop_opens_the_loop_again_and_keeps_its_other_iterations() -> None:
    play = Play(for_each("each", step("x"), step("y", "x")), step("after", "each"))
    play.done("each[0].x").done("each[0].y").done("each[1].x").failed("each[1].y")

    anew = going_on(play, "each[1].y")

    assert anew.superseded == {"each[1].y", "each", "after"}
    assert [loop.path for loop in anew.reopened] == ["each"]
    assert anew.reopened[0].started_at == play.board.record["each"].started_at


def test_a_loop_that_failed_goes_on_with_the_iterations_that_did_not_succeed() -> None:
    play = Play(for_each("each", step("x"), concurrency=3))
    play.done("each[0].x").failed("each[1].x", "each[2].x")

    anew = going_on(play, "each")

    assert anew.superseded == {"each", "each[1].x", "each[2].x"}
    assert going_on(play, None) == anew
    assert superseded(play, "each[1].x") == anew.superseded


def test_a_loop_after_the_step_begins_anew_with_all_its_iterations() -> None:
    play = Play(
        step("a", on_error="continue"),
        {**for_each("each", step("x")), "depends_on": ["a"]},
        step("last", "each"),
    )
    play.failed("a").done("each[0].x").done("each[1].x").done("each[2].x").failed("last")

    anew = going_on(play, "a")

    assert anew.superseded == {"a", "each", "each[0].x", "each[1].x", "each[2].x", "last"}
    assert anew.reopened == ()


def test_a_failed_iteration_that_the_loop_passed_over_stays_unless_it_is_asked_for() -> None:
    loop = for_each("each", step("x"), step("y"), on_item_error="continue")
    play = Play(loop, step("last", "each"))
    play.failed("each[0].x", "each[0].y").done("each[1].x", "each[1].y")
    play.done("each[2].x", "each[2].y").failed("last")

    assert superseded(play, "last") == {"last"}
    assert superseded(play, "each[0].x") == {"each[0].x", "each[0].y", "each", "last"}


def test_a_replay_from_a_loop_begins_the_whole_loop() -> None:
    play = Play(step("a"), {**for_each("each", step("x")), "depends_on": ["a"]})
    play.done("a").done("each[0].x").done("each[1].x").done("each[2].x")

    anew = going_on(play, "each", whole_loop=True)

    assert anew.superseded == {"each", "each[0].x", "each[1].x", "each[2].x"}
    assert anew.reopened == ()


def test_a_next_attempt_that_is_still_due_stays_due() -> None:
    shaky = step("shaky", retry={"max_attempts": 2, "initial_delay_seconds": 60})
    play = Play(step("a"), shaky).failed("shaky", again=True).failed("a")

    assert superseded(play, "a") == {"a"}
    assert superseded(play, "shaky") == {"shaky", "a"}


def test_in_a_cycle_only_what_came_later_starts_anew() -> None:
    back = {"source": "review", "target": "draft", "condition": "steps.review.output == 'again'"}
    play = Play.graph(
        nodes(["draft", "review", "publish"]),
        [*edges("draft review"), back, *edges("review publish")],
    )
    play.done("draft").done("review", output="again").done("draft[1]").done(
        "review[1]", output="ok"
    )
    play.failed("publish")

    assert superseded(play, "publish") == {"publish"}
    assert superseded(play, "draft[1]") == {"draft[1]", "review[1]", "publish"}
    assert superseded(play, "review") == {"review", "draft[1]", "review[1]", "publish"}


def test_what_ran_beside_the_step_in_the_same_iteration_of_a_cycle_stays() -> None:
    back = {"source": "join", "target": "fork", "condition": "steps.join.output == 'again'"}
    play = Play.graph(
        nodes(["fork", "left", "right", "join"]),
        [*edges("fork left", "fork right", "left join", "right join"), back],
    )
    play.done("fork").done("left", "right").done("join", output="again")
    play.done("fork[1]").done("right[1]").failed("left[1]")

    assert superseded(play, "left[1]") == {"left[1]"}
    assert superseded(play, "left") == {"left", "join", "fork[1]", "right[1]", "left[1]"}


def test_a_path_leads_through_loops_to_its_step() -> None:
    play = Play(for_each("each", for_each("inner", step("x"))))

    place = place_of(play.plan, "each[3].inner[0].x")

    assert place is not None
    assert (place.step.id, place.level) == ("x", "each[3].inner[0].")
    assert place_of(play.plan, "each[3].other") is None
    assert place_of(play.plan, "nothing[3].x") is None
    assert loops_around("each[1][3].inner[0].x") == ["each[1]", "each[1][3].inner"]


def test_a_retried_step_is_numbered_on_and_the_iterations_that_are_done_are_not_redone() -> None:
    play = Play(for_each("each", step("x")), step("after", "each"))
    play.done("each[0].x", output="kept").failed("each[1].x")
    anew = going_on(play, "each")
    record = {
        path: state for path, state in play.board.record.items() if path not in anew.superseded
    }

    again = play.rebuilt_from(
        {**record, **{loop.path: loop for loop in anew.reopened}},
        {path: play.board.record[path].attempt for path in anew.superseded},
    )

    assert again.look().starts == ["each[1].x"]
    assert again.board.record["each[1].x"].attempt == 2
    again.done("each[1].x").done("each[2].x").done("after")
    assert again.last.end is not None
    assert again.board.record["each"].output[0] == "kept"
    assert again.board.record["each"].attempt == 2
