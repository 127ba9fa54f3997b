"""What expressions may refer to: steps that have run on every way that leads here, and names that are there."""

from typing import Any

import pytest

from app.engine.language.expressions import compile_expression
from app.engine.language.references import Scope
from tests.unit.language.parsing import condition, loop, parsed, problems, refused, says, step

PLAIN = "${{ steps.a.output.x }}"
GUARDED = "${{ steps.a.output?.x ?? 1 }}"


def codes(*steps: dict[str, Any]) -> list[str]:
    return [code for _, code in problems(*steps)]


def test_what_has_run_on_every_way_may_be_used() -> None:
    assert parsed(step("a"), step("b", "a"), step("c", "a"), says("d", PLAIN, "b", "c")).steps


def test_a_join_of_all_whose_edges_may_be_dead_must_guard_what_it_uses() -> None:
    steps = (condition("q"), step("a", "q.true"), step("b", "q.false"))

    assert codes(*steps, says("c", PLAIN, "a", "b")) == ["step_may_be_missing"]
    assert parsed(*steps, says("c", GUARDED, "a", "b")).steps
    assert parsed(*steps, says("c", "${{ steps.a.status }}", "a", "b")).steps


def test_a_join_of_any_cannot_know_whether_the_others_have_run() -> None:
    steps = (step("a"), step("b"))

    assert codes(*steps, says("c", PLAIN, "a", "b", join="any")) == ["step_may_be_missing"]
    assert parsed(*steps, says("c", GUARDED, "a", "b", join="any")).steps


@pytest.mark.parametrize("fields", [{"when": "input.x == 1"}, {"on_error": "continue"}])
def test_a_step_that_may_be_passed_by_must_be_guarded(fields: dict[str, Any]) -> None:
    assert codes(step("a", **fields), says("b", PLAIN, "a")) == ["step_may_be_missing"]


def test_on_an_error_branch_the_output_is_missing_and_the_error_is_there() -> None:
    assert codes(step("a"), says("b", PLAIN, "a.failed")) == ["step_may_be_missing"]
    assert parsed(step("a"), says("b", "${{ steps.a.error.message }}", "a.failed")).steps


def test_a_step_beside_has_not_run() -> None:
    assert codes(step("a"), says("b", PLAIN)) == ["step_not_before"]


def test_when_is_checked_like_any_expression() -> None:
    assert problems(step("a", when="steps.b.output"), step("b")) == [
        ("/steps/0/when", "step_not_before")
    ]
    assert problems(step("a", when="1 +")) == [("/steps/0/when", "expression_syntax")]


def test_a_body_sees_item_index_and_the_steps_before_its_loop() -> None:
    body = says("b", "${{ steps.a.output }} ${{ item }} ${{ index }}")

    assert parsed(step("a"), {**loop("f", body), "depends_on": ["a"]}).steps


def test_outside_of_a_loop_there_is_no_item() -> None:
    assert codes(says("a", "${{ item }}")) == ["unknown_name"]


def test_a_body_over_a_condition_has_an_index_and_no_item() -> None:
    body = says("b", "${{ item }} ${{ index }}")

    assert codes(step("w", type="while", config={"condition": "false"}, steps=[body])) == [
        "unknown_name"
    ]


def test_after_a_loop_its_body_cannot_be_seen() -> None:
    assert codes(loop("f", step("a")), says("b", PLAIN, "f")) == ["unknown_step"]


def test_a_loop_sees_the_latest_iteration_of_its_body_optionally() -> None:
    config = {"condition": "(steps?.b?.output ?? 0) < 3"}

    assert parsed(step("w", type="while", config=config, steps=[step("b")])).steps


def test_locals_of_an_expression_are_known_there_alone() -> None:
    assert parsed(loop("f", step("a"), stop_when="output == item")).steps
    assert codes(loop("f", step("a"), items="output")) == ["unknown_name"]


def test_the_nearest_name_is_offered() -> None:
    (problem,) = refused({"steps": [step("fetch"), says("b", "${{ steps.fetsh }}", "fetch")]})

    assert "Did you mean 'fetch'? Before this one come: fetch." in problem.detail


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("steps.a.output.x", True),
        ("steps.a.output.y", False),
        ("steps.a.output.x.any", False),
        ("steps.a.output.open.anything", True),
        ("steps.a.output.odd.anything", True),
        ("steps.a.output", True),
        ("steps.a.status", True),
        ("steps.a", True),
        ("input.anything", True),
        ("input?.anything", True),
        ("run", True),
        ("run.id", True),
        ("workflow.colour", False),
    ],
)
def test_names_are_checked_against_the_schema_of_the_output(source: str, holds: bool) -> None:
    closed = {"properties": {}, "additionalProperties": False}
    output = {"properties": {"x": closed, "open": {}, "odd": True}, "additionalProperties": False}
    ran = frozenset({"a"})
    scope = Scope({}, before=ran, settled=ran, certain=ran, outputs={"a": output})

    (reference,) = compile_expression(source).references

    assert (list(scope.problems(reference, "/at")) == []) is holds
