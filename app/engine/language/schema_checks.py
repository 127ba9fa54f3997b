"""Check JSON Schemas (draft 2020-12), and values against them; loaded by `input_schema` when there is one to check.

Schemas are users' text: patterns go through RE2, nothing is ever fetched, and `schema_validator` counts the work.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from app.core.errors import Problem
from app.engine.language.problems import pointer
from app.engine.language.schema_validator import TooMuchWork, compiles, faults_of

MAX_PROBLEMS = 20
TOGETHER = frozenset({"unevaluatedProperties", "patternProperties"})
"""jsonschema would match the names by `re`, which has no bounds."""


def schema_problems(schema: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """Yield what is wrong with a schema itself; pointers are relative to what holds it as `name`."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        detail = f"`{name}` must be a JSON Schema (draft 2020-12): {error.message}."
        yield Problem(pointer(name) + pointer(*error.absolute_path), "invalid_schema", detail)
        return
    yield from _unusable(schema, pointer(name))
    if TOGETHER.issubset(_keys(schema)):
        detail = "`unevaluatedProperties` and `patternProperties` cannot stand in one schema here: use `additionalProperties`."
        yield Problem(pointer(name), "invalid_schema", detail)


def input_problems(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """Return what is wrong with an input; pointers are relative to it."""
    try:
        faults = [*islice(faults_of(schema, value), MAX_PROBLEMS)]
    except TooMuchWork:
        detail = "Checking this against the schema takes too much work: send less, or make the schema simpler."
        return [Problem("", "limit_exceeded", detail)]
    except (RecursionError, Unresolvable):
        return [Problem("", "invalid_schema", "The schema refers to itself without end.")]
    return [
        Problem(pointer(*fault.absolute_path), "invalid_input", f"{fault.message}.")
        for fault in faults
    ]


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from schema
    inside = schema.values() if isinstance(schema, Mapping) else schema
    for item in inside if isinstance(schema, Mapping | list) else ():
        yield from _keys(item)


def _unusable(schema: Any, at: str) -> Iterator[Problem]:
    """Yield references that would have to be fetched, and patterns that RE2 does not take."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _unusable(item, f"{at}/{index}")
    elif isinstance(schema, Mapping):
        for key, value in schema.items():
            place = at + pointer(key)
            yield from _unusable_keyword(key, value, place)
            yield from _unusable(value, place)


def _unusable_keyword(key: str, value: Any, at: str) -> Iterator[Problem]:
    if key in {"$ref", "$dynamicRef"} and isinstance(value, str) and not value.startswith("#"):
        yield Problem(
            at, "invalid_schema", "A $ref must point into this schema: start it with `#`."
        )
    patterns = [value] if key == "pattern" else list(value) if key == "patternProperties" else []
    for pattern in patterns:
        if isinstance(pattern, str) and not compiles(pattern):
            yield Problem(
                at,
                "invalid_schema",
                f"RE2 does not take the pattern {pattern!r}: see its syntax page.",
            )
