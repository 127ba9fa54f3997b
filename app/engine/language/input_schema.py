"""Check a run's input against the JSON Schema in its definition's `inputs` (draft 2020-12).

Schemas are users' text: patterns go through RE2, nothing is ever fetched, and equality of items costs no square.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from app.core.errors import Problem
from app.engine.language.problems import pointer

MAX_PROBLEMS = 20
JSON_SCHEMA_FORMAT = "json-schema"


def schema_problems(schema: Mapping[str, Any], name: str = "inputs") -> Iterator[Problem]:
    """Yield what is wrong with a schema itself; pointers are relative to what holds it as `name`."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        detail = f"`{name}` must be a JSON Schema (draft 2020-12): {error.message}."
        yield Problem(pointer(name) + pointer(*error.absolute_path), "invalid_schema", detail)
        return
    yield from _unusable(schema, pointer(name))


def schema_fields(config_schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a config's fields that hold a JSON Schema themselves."""
    for name, described in config_schema.get("properties", {}).items():
        if described.get("format") == JSON_SCHEMA_FORMAT:
            yield name


def input_problems(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """Return what is wrong with an input; pointers are relative to it."""
    try:
        faults = [
            fault
            for fault, _ in zip(
                _Validator(schema, registry=Registry()).iter_errors(value),
                range(MAX_PROBLEMS),
                strict=False,
            )
        ]
    except (RecursionError, Unresolvable):
        return [
            Problem(
                "", "invalid_schema", "The workflow's `inputs` schema refers to itself without end."
            )
        ]
    return [
        Problem(pointer(*fault.absolute_path), "invalid_input", f"{fault.message}.")
        for fault in faults
    ]


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
        if isinstance(pattern, str) and not _compiles(pattern):
            yield Problem(
                at,
                "invalid_schema",
                f"RE2 does not take the pattern {pattern!r}: see its syntax page.",
            )


def _compiles(pattern: str) -> bool:
    try:
        re2.compile(pattern, _QUIET)
    except re2.error:
        return False
    return True


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


_QUIET = _options()


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value, _QUIET):
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, Mapping):
        return
    for pattern, schema in patterns.items():
        for name, item in value.items():
            if re2.search(pattern, name, _QUIET):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _unique_items(_: Any, wanted: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list):
        distinct = {orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value}
        if len(distinct) < len(value):
            yield ValidationError("its items are not all different")


_Validator = extend(
    Draft202012Validator,
    {"pattern": _pattern, "patternProperties": _pattern_properties, "uniqueItems": _unique_items},
)
