"""A definition is refused with every problem at once, each with its place, a stable code, and how to mend it."""

from typing import Any

import pytest

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Edge, RetryPolicy
from app.engine.registry import Catalogue, load_catalogue

LOG = {"type": "log", "config": {"message": "x"}}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def problems(raw: Any, catalogue: Catalogue) -> list[tuple[str, str]]:
    return [(problem.pointer, problem.code) for problem in refused(raw, catalogue)]


def refused(raw: Any, catalogue: Catalogue) -> tuple[Problem, ...]:
    with pytest.raises(InvalidDefinition) as refusal:
        parse_definition(raw, catalogue)
    return refusal.value.problems


def test_steps_run_one_after_the_other(catalogue: Catalogue) -> None:
    plan = parse_definition({"steps": [{**LOG, "id": "first"}, LOG, LOG]}, catalogue)

    assert list(plan.steps) == ["first", "step_2", "step_3"]
    assert plan.edges == (Edge("first", "*", "step_2"), Edge("step_2", "*", "step_3"))
    assert plan.ends == ("step_3",)


def test_a_step_without_retry_is_tried_once(catalogue: Catalogue) -> None:
    plan = parse_definition({"steps": [LOG, {**LOG, "retry": {"max_attempts": 5}}]}, catalogue)

    assert plan.steps["step_1"].retry == RetryPolicy(max_attempts=1)
    assert plan.steps["step_2"].retry.max_attempts == 5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([], [("", "invalid_value")]),
        ({}, [("/steps", "missing_field")]),
        ({"steps": []}, [("/steps", "invalid_value")]),
        ({"steps": ["x"]}, [("/steps/0", "invalid_value")]),
        ({"steps": [LOG], "timeout": 3}, [("/timeout", "unknown_field")]),
        ({"steps": [{}]}, [("/steps/0/type", "missing_field")]),
        ({"steps": [{"type": "logg"}]}, [("/steps/0/type", "unknown_node_type")]),
        ({"steps": [{"type": "log"}]}, [("/steps/0/config/message", "missing_field")]),
        ({"steps": [{**LOG, "id": "1st"}]}, [("/steps/0/id", "invalid_value")]),
        ({"steps": [{**LOG, "config": "x"}]}, [("/steps/0/config", "invalid_value")]),
        ({"steps": [{**LOG, "id": "a"}] * 2}, [("/steps/1/id", "duplicate_step_id")]),
        ({"steps": [LOG] * 501}, [("/steps", "invalid_value")]),
        (
            {"steps": [{**LOG, "timeout_seconds": 0}]},
            [("/steps/0/timeout_seconds", "invalid_value")],
        ),
        (
            {"steps": [{**LOG, "retry": {"max_attempts": 0}}]},
            [("/steps/0/retry/max_attempts", "invalid_value")],
        ),
        (
            {"steps": [{**LOG, "retry": {"tries": 3}}]},
            [("/steps/0/retry/tries", "unknown_field")],
        ),
        (
            {
                "steps": [
                    {
                        "type": "switch",
                        "config": {"value": "1", "cases": [{"port": "1", "equals": 1}]},
                    }
                ]
            },
            [("/steps/0/config/cases/0/port", "invalid_value")],
        ),
        (
            {
                "steps": [LOG],
                "inputs": {"allOf": [{}, {"patternProperties": {"^a": {}, "(?!b)": {}}}]},
            },
            [("/inputs/allOf/1/patternProperties", "invalid_schema")],
        ),
        ({"steps": [LOG], "inputs": {"type": "objekt"}}, [("/inputs/type", "invalid_schema")]),
        (
            {"steps": [LOG], "inputs": {"$ref": "https://example.com/schema"}},
            [("/inputs/$ref", "invalid_schema")],
        ),
        (
            {"steps": [LOG], "inputs": {"pattern": "(?=look)"}},
            [("/inputs/pattern", "invalid_schema")],
        ),
    ],
)
def test_a_wrong_shape_is_named_with_its_place(
    catalogue: Catalogue, raw: Any, expected: list[tuple[str, str]]
) -> None:
    assert problems(raw, catalogue) == expected


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("${{ input. }}", "expression_syntax"),
        ("${{ nonsense }}", "unknown_name"),
        ("${{ steps.later.output }}", "step_not_before"),
        ("${{ steps.here.output }}", "step_not_before"),
        ("${{ steps.nowhere.output }}", "unknown_step"),
        ("${{ steps?.nowhere?.output ?? 1 }}", "unknown_step"),
        ("${{ steps.before.outputs }}", "unknown_path"),
        ("${{ steps.before.output.mesage }}", "unknown_path"),
        ("${{ run.began }}", "unknown_path"),
        ("${{ workflow.title }}", "unknown_path"),
    ],
)
def test_an_expression_that_can_never_hold_is_refused(
    catalogue: Catalogue, message: str, code: str
) -> None:
    steps = [
        {**LOG, "id": "before"},
        {"id": "here", "type": "log", "config": {"message": message}},
        {**LOG, "id": "later"},
    ]

    assert problems({"steps": steps}, catalogue) == [("/steps/1/config/message", code)]


@pytest.mark.parametrize(
    "message",
    [
        "${{ steps.before.output.message }}",
        "${{ steps?.here?.output ?? 'none' }}",
        "${{ input.anything.at.all }}",
        "${{ run.id }} ${{ workflow.version }} ${{ now }} ${{ steps }}",
    ],
)
def test_an_expression_that_may_hold_is_taken(catalogue: Catalogue, message: str) -> None:
    here = {"id": "here", "type": "log", "config": {"message": message}}
    steps = [{**LOG, "id": "before"}, here]

    assert parse_definition({"steps": steps}, catalogue).steps


def test_names_that_a_closed_input_schema_lacks_are_refused(catalogue: Catalogue) -> None:
    raw = {
        "inputs": {"properties": {"order_id": {}}, "additionalProperties": False},
        "steps": [{"type": "log", "config": {"message": "${{ input.ordr_id }}"}}],
    }

    (problem,) = refused(raw, catalogue)

    assert problem.code == "unknown_path"
    assert "order_id" in problem.detail


def test_every_problem_is_told_at_once(catalogue: Catalogue) -> None:
    raw = {
        "steps": [
            {"type": "http_request", "config": {}},
            {"type": "log", "config": {"message": "${{ oops", "colour": "red"}, "retries": 3},
            {"type": "filter_node", "config": {"condition": "item.x >"}},
        ],
        "timout_seconds": 3,
    }

    assert problems(raw, catalogue) == [
        ("/timout_seconds", "unknown_field"),
        ("/steps/0/type", "unknown_node_type"),
        ("/steps/1/retries", "unknown_field"),
        ("/steps/1/config/colour", "unknown_field"),
        ("/steps/1/config/message", "expression_syntax"),
        ("/steps/2/config/condition", "expression_syntax"),
    ]


def test_a_near_miss_is_answered_with_the_nearest_name(catalogue: Catalogue) -> None:
    (problem,) = refused({"steps": [{"type": "http_request"}]}, catalogue)

    assert "Did you mean 'http_request_node'?" in problem.detail


def test_values_that_only_a_run_can_know_are_left_for_the_run(catalogue: Catalogue) -> None:
    config = {"url": "${{ input.url }}", "timeout_seconds": "${{ input.seconds }}"}

    assert parse_definition(
        {"steps": [{"type": "http_request_node", "config": config}]}, catalogue
    ).steps


def test_beside_such_a_value_other_faults_are_still_found(catalogue: Catalogue) -> None:
    config = {
        "url": "https://example.com",
        "timeout_seconds": "${{ input.seconds }}",
        "json_body": 1,
        "text": "2",
        "method": "FETCH",
    }

    found = refused({"steps": [{"type": "http_request_node", "config": config}]}, catalogue)

    assert [problem.pointer for problem in found] == ["/steps/0/config/method", "/steps/0/config"]


def test_a_field_that_is_not_there_is_named_even_when_it_holds_an_expression(
    catalogue: Catalogue,
) -> None:
    config = {"message": "x", "mesage": "${{ input.x }}"}

    assert problems({"steps": [{"type": "log", "config": config}]}, catalogue) == [
        ("/steps/0/config/mesage", "unknown_field")
    ]


def test_a_definition_over_256_kib_is_refused(catalogue: Catalogue) -> None:
    raw = {"steps": [{"type": "log", "config": {"message": "x" * 300_000}}]}

    assert problems(raw, catalogue) == [("", "definition_too_large")]


@pytest.mark.parametrize(
    ("config", "holds"),
    [
        ({"until": "${{ input.until }}"}, True),
        ({"seconds": "${{ input.seconds }}"}, True),
        ({"until": "${{ input.until }}", "seconds": 5}, False),
        ({}, False),
    ],
)
def test_a_check_over_several_fields_takes_expressions_for_what_they_could_come_to(
    config: dict[str, Any], holds: bool, catalogue: Catalogue
) -> None:
    problems = catalogue.check_config("delay", config)

    assert (not problems) is holds
