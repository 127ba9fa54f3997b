"""A JSON Schema validator (draft 2020-12) for schemas that users write: patterns go through RE2, and all work is counted.

jsonschema alone matches some patterns by `re`, which a property's name of forty characters can hold for years, and a schema
of a kilobyte whose references branch makes it check the same value without end.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from app.engine.language.linear_patterns import re2

MAX_WORK: Final = 1_000_000
"""About how many values are looked at: two seconds or so."""
REFERENCE_WORK: Final = 20
"""Following a reference takes so much longer than looking at a value."""
CHARACTERS_AT_ONCE: Final = 64
COMPARING: Final = 8
"""Values of the schema are compared by jsonschema, in Python."""
BY_VALUE: Final = frozenset(
    {"required", "properties", "patternProperties", "allOf", "anyOf", "oneOf", "prefixItems"}
    | {"dependentRequired", "dependentSchemas"}
)
BY_INSTANCE: Final = frozenset(
    {"items", "prefixItems", "contains", "propertyNames", "additionalProperties"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
REFERENCES: Final = frozenset({"$ref", "$dynamicRef"})
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_left: ContextVar[int] = ContextVar("work that is left")


class TooMuchWork(Exception):
    """Checking a value against a schema takes more than it may."""


def faults_of(schema: Mapping[str, Any], value: Any) -> Iterator[ValidationError]:
    """Yield what is wrong with a value.

    Raises:
        TooMuchWork: the schema, on this value, is too much to check.
        RecursionError, referencing.exceptions.Unresolvable: the schema refers to itself without end, or to nothing.
    """
    _left.set(MAX_WORK)
    yield from _Validator(schema, registry=Registry()).iter_errors(value)


def compiles(pattern: str) -> bool:
    """Tell whether RE2 takes a pattern."""
    try:
        re2().compile(pattern, _quiet())
    except re2().error:
        return False
    return True


@cache
def _quiet() -> Any:
    options = re2().Options()
    options.log_errors = False
    return options


def _spend(work: int) -> None:
    left = _left.get() - work
    if left < 0:
        raise TooMuchWork
    _left.set(left)


def _counted(name: str, keyword: Keyword) -> Keyword:
    """Return a keyword's check that pays for what it does itself; what it descends to pays for itself."""

    def check(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError] | None:
        work = REFERENCE_WORK if name in REFERENCES else 1
        if name in BY_VALUE:
            work += _length(value)
        if name in BY_INSTANCE:
            work += _length(instance)
        _spend(work)
        return keyword(validator, value, instance, schema)

    return check


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _compared(keyword: Keyword) -> Keyword:
    """Return the check of a keyword that compares the instance with values of the schema."""

    def check(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError] | None:
        _spend(len(orjson.dumps(value)) // CHARACTERS_AT_ONCE * COMPARING)
        return keyword(validator, value, instance, schema)

    return check


def _matches(pattern: str, text: str) -> bool:
    _spend(1 + len(text) // CHARACTERS_AT_ONCE)
    return bool(re2().search(pattern, text, _quiet()))


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, Mapping):
        return
    for pattern, schema in patterns.items():
        for name, item in value.items():
            if _matches(pattern, name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(value, Mapping):
        return
    known, patterns = schema.get("properties", {}), [*schema.get("patternProperties", {})]
    for name in value:
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if wanted is False:
            yield ValidationError(f"{name!r} is not known here: remove it, or correct its name")
        else:
            yield from validator.descend(value[name], wanted, path=name)


def _unique_items(_: Any, wanted: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list):
        items = [orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value]
        _spend(4 * len(items) + sum(map(len, items)) // CHARACTERS_AT_ONCE)
        if len(set(items)) < len(items):
            yield ValidationError("its items are not all different")


_OWN: Final[Mapping[str, Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    "enum": _compared(Draft202012Validator.VALIDATORS["enum"]),
    "const": _compared(Draft202012Validator.VALIDATORS["const"]),
}
_Validator = extend(
    Draft202012Validator,
    {
        name: _counted(name, keyword)
        for name, keyword in {**Draft202012Validator.VALIDATORS, **_OWN}.items()
    },
)
