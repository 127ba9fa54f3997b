"""An input is checked against the workflow's schema, which is a user's text and must do no harm."""

from typing import Any

import pytest

from app.engine.language.input_schema import input_problems, schema_problems


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
        ({"additionalProperties": False}, {"a": 1, "b": 2}, ["", ""]),
        ({"additionalProperties": False}, [1], []),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
            {"a": 1, "b": 2},
            ["/b"],
        ),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, {"n_a": 1}, []),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"a": 1, "b": 2}, [""]),
        ({"enum": ["a", {"b": [1]}]}, {"b": [1]}, []),
        ({"const": 1}, 2, [""]),
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


def test_a_hostile_pattern_for_names_takes_no_time() -> None:
    schema = {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False}

    assert len(input_problems(schema, {"a" * 200 + "b": 1})) == 1


def test_patterns_for_names_that_nothing_bounds_are_refused() -> None:
    schema = {"allOf": [{"patternProperties": {"(a+)+$": {}}}], "unevaluatedProperties": False}

    assert [problem.pointer for problem in schema_problems(schema)] == ["/inputs"]


def _branching(levels: int) -> Any:
    """Return a schema that checks a value 2 ** levels times."""
    twice = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/s0", "$defs": {**twice, f"s{levels}": {"type": "object"}}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (_branching(40), {}),
        ({"items": {"enum": [f"v{n}" for n in range(15_000)]}}, ["v14999"] * 10_000),
        ({"items": {"anyOf": [{"pattern": "a$"}] * 5_000}}, ["a" * 1_000] * 1_000),
        ({"allOf": [{"uniqueItems": True}] * 1_000}, list(range(10_000))),
        ({"allOf": [{"contains": {}}] * 1_000}, list(range(10_000))),
    ],
)
def test_a_schema_that_is_endless_work_is_given_up(schema: Any, value: Any) -> None:
    (problem,) = input_problems(schema, value)

    assert problem.code == "limit_exceeded"


def test_a_large_input_is_no_endless_work() -> None:
    item = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    schema = {"type": "array", "items": {"$ref": "#/$defs/item"}, "$defs": {"item": item}}

    assert input_problems(schema, [{"id": n} for n in range(20_000)]) == []
