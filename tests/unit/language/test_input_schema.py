"""An input is checked against the workflow's schema, which is a user's text and must do no harm."""

from typing import Any

import pytest

from app.engine.language.input_schema import input_problems


@pytest.mark.parametrize(
    ("schema", "value", "pointers"),
    [
        ({"type": "object"}, {"a": 1}, []),
        ({"type": "object"}, [], [""]),
        ({"required": ["a", "b"]}, {}, ["", ""]),
        ({"properties": {"a": {"type": "integer"}}}, {"a": "x"}, ["/a"]),
        ({"properties": {"a": {"pattern": "^x+$"}}}, {"a": "xyx"}, ["/a"]),
        ({"properties": {"a": {"pattern": "^x+$"}}}, {"a": 5}, []),
        ({"patternProperties": {"^n_": {"type": "number"}}}, {"n_a": "x", "b": "x"}, ["/n_a"]),
        ({"patternProperties": {"^n_": {"type": "number"}}}, ["n_a"], []),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [""]),
        ({"uniqueItems": True}, [1, 2], []),
        ({"uniqueItems": False}, [1, 1], []),
    ],
)
def test_each_fault_is_named_with_its_place(schema: Any, value: Any, pointers: list[str]) -> None:
    assert [problem.pointer for problem in input_problems(schema, value)] == pointers


def test_at_most_twenty_faults_are_told() -> None:
    schema = {"items": {"type": "string"}}

    assert len(input_problems(schema, list(range(1000)))) == 20


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/nowhere"}])
def test_a_schema_that_refers_to_nothing_or_to_itself_is_a_problem_not_a_crash(schema: Any) -> None:
    (problem,) = input_problems(schema, {})

    assert problem.code == "invalid_schema"


def test_a_hostile_pattern_takes_no_time() -> None:
    schema = {"pattern": "(a+)+$"}

    assert len(input_problems(schema, "a" * 100_000 + "b")) == 1
