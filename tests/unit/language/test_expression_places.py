"""Bare expressions are found in a config by its schema, at any depth."""

from typing import Any

from app.engine.language.expression_places import Place, expression_places, put, without

EXPRESSION = {"type": "string", "format": "expression", "x-locals": ["value"]}
OBJECT = {
    "$defs": {"case": {"properties": {"when": {"anyOf": [EXPRESSION, {"type": "null"}]}}}},
    "properties": {
        "value": {"type": "string", "format": "expression"},
        "cases": {"items": {"$ref": "#/$defs/case"}},
        "anything": True,
        "open": {},
    },
}


def test_expressions_are_found_through_lists_references_and_alternatives() -> None:
    config = {"value": "1", "cases": [{"when": "a"}, {"when": None}, {}], "anything": {"when": "b"}}

    assert expression_places(OBJECT, config) == [
        Place(("value",), "1", ()),
        Place(("cases", 0, "when"), "a", ("value",)),
    ]


def test_what_does_not_fit_the_schema_holds_no_expression() -> None:
    assert expression_places(OBJECT, {"value": 3, "cases": "x", "open": ["y"]}) == []
    assert expression_places(OBJECT, []) == []


def test_names_beside_a_reference_are_known() -> None:
    schema: dict[str, Any] = {
        "$defs": {"e": {"format": "expression"}},
        "properties": {"a": {"$ref": "#/$defs/e", "x-locals": ["item"]}},
    }

    assert expression_places(schema, {"a": "1"}) == [Place(("a",), "1", ("item",))]


def test_a_config_without_its_expressions_has_null_in_their_places() -> None:
    config = {"value": "1", "cases": [{"when": "a", "port": "p"}]}

    assert without(config, {("value",), ("cases", 0, "when")}) == {
        "value": None,
        "cases": [{"when": None, "port": "p"}],
    }


def test_a_value_is_put_into_its_place() -> None:
    config = {"cases": [{"when": None}]}

    put(config, ("cases", 0, "when"), 5)

    assert config == {"cases": [{"when": 5}]}
