"""Loops in a definition: their body, their limits, and what of it cannot be."""

from typing import Any

import pytest

from app.engine.language.plan import Loop
from tests.unit.language.parsing import loop, parsed, problems, refused, step


def loop_of(name: str, *steps: dict[str, Any]) -> Loop:
    found = parsed(*steps).steps[name].loop
    assert found is not None
    return found


def test_a_loop_has_a_body_and_limits() -> None:
    config = {"concurrency": 3, "max_iterations": 5, "on_item_error": "continue"}

    found = loop_of("f", loop("f", step("a"), stop_when="output == 1", **config))

    assert list(found.body.steps) == ["a"]
    assert (found.concurrency, found.max_iterations, found.keep_going) == (3, 5, True)
    assert found.items is not None
    assert found.stop_when is not None


def test_a_loop_that_says_nothing_takes_one_item_at_a_time_and_a_thousand_at_most() -> None:
    found = loop_of("f", loop("f", step("a")))

    assert (found.concurrency, found.max_iterations, found.keep_going) == (1, 1_000, False)


def test_steps_of_a_body_without_an_id_are_named_after_their_loop() -> None:
    found = loop_of("f", loop("f", {"type": "merge"}, {"type": "merge"}))

    assert list(found.body.steps) == ["f_step_1", "f_step_2"]


def test_ids_are_unique_over_all_levels() -> None:
    assert problems(step("a"), loop("f", step("a"))) == [
        ("/steps/1/steps/0/id", "duplicate_step_id")
    ]


def test_a_body_depends_on_its_own_level_alone() -> None:
    assert problems(step("a"), loop("f", step("b", "a"))) == [
        ("/steps/1/steps/0/depends_on/0", "unknown_step")
    ]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            step("f", type="for_each", config={"items": "[1]"}),
            [("/steps/0/steps", "missing_field")],
        ),
        (
            step("f", type="for_each", config={"items": "[1]"}, steps=[]),
            [("/steps/0/steps", "invalid_value")],
        ),
        (step("a", steps=[step("b")]), [("/steps/0/steps", "unknown_field")]),
        (
            loop("f", step("a"), max_iterations=1_001),
            [("/steps/0/config/max_iterations", "invalid_value")],
        ),
        (loop("f", step("a"), items="1 +"), [("/steps/0/config/items", "expression_syntax")]),
        (
            step("f", type="while", steps=[step("a")]),
            [("/steps/0/config/condition", "missing_field")],
        ),
    ],
)
def test_a_wrong_loop_is_named_with_its_place(wrong: Any, expected: list[tuple[str, str]]) -> None:
    assert problems(wrong) == expected


def test_loops_may_be_nested_nine_deep_and_no_deeper() -> None:
    nested = step("a")
    for depth in range(9):
        nested = loop(f"f{depth}", nested)

    assert parsed(nested).steps
    assert [code for _, code in problems(loop("f9", nested))] == ["nested_too_deep"]


def test_steps_of_bodies_count_towards_the_limit() -> None:
    body = [step(f"a{number}") for number in range(500)]

    (problem,) = refused({"steps": [loop("f", *body)]})

    assert problem.code == "too_many_steps"
    assert "501" in problem.detail


@pytest.mark.parametrize("items", ["5", "{'a': 1}", "'abc'.upper()", "1 / 0"])
def test_items_that_never_are_a_list_are_refused_at_save(items: str) -> None:
    found = refused({"steps": [loop("f", step("a"), items=items)]})

    assert [problem.pointer for problem in found] == ["/steps/0/config/items"]
