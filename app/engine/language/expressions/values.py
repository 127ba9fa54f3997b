"""What the values of the language are: their types, equality, order, and their way out as JSON or text."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from types import NoneType
from typing import Any

import orjson

from app.engine.language.expressions.budget import Budget, text_bytes
from app.engine.language.expressions.faults import InvalidValue, LimitExceeded, TypeMismatch
from app.engine.language.expressions.lexer import MAX_INTEGER, MIN_INTEGER
from app.engine.language.expressions.temporal import date_text, seconds_of

MAX_VALUE_DEPTH = 100
NUMBERS: frozenset[Any] = frozenset({int, float})
ORDERED = frozenset({"number", "string", "date", "duration"})

_JSON_CONTAINER_BYTES = 24
_JSON_SCALAR_BYTES = 4
_KINDS: dict[type, str] = {
    NoneType: "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "list",
    dict: "map",
    datetime: "date",
    timedelta: "duration",
}
_BASES: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (int, "number"),
    (float, "number"),
    (list, "list"),
    (Mapping, "map"),
    (datetime, "date"),
)
_WITH_ARTICLE = {"null": "null", "unsupported": "an unsupported value"}

Charge = Callable[[int], None]


def kind(value: Any) -> str:
    """Return the name of a value's type in the language: null, boolean, number, string, list, map, date, duration."""
    known = _KINDS.get(value.__class__)
    if known is None:
        known = next((name for base, name in _BASES if isinstance(value, base)), "unsupported")
    return known


def described(value: Any) -> str:
    """Return the type of a value as messages name it: `a number`, `null`."""
    name = kind(value)
    return _WITH_ARTICLE.get(name, f"a {name}")


def checked(number: int | float) -> int | float:
    """Return a number that arithmetic made, if JSON can carry it.

    Raises:
        LimitExceeded: when an integer leaves 64 bits or a float is no longer finite.
    """
    if MIN_INTEGER <= number <= MAX_INTEGER or (number.__class__ is float and isfinite(number)):
        return number
    raise LimitExceeded("A number is too large: integers have 64 bits, and floats must be finite.")


def equal(one: Any, other: Any, budget: Budget, depth: int = 0) -> bool:
    """Tell whether two values are the same JSON; values of different types never are."""
    type_of_one = kind(one)
    if type_of_one != kind(other):
        return False
    if type_of_one not in {"list", "map"}:
        return bool(one == other)
    budget.spend(1 + len(one))
    _check_depth(depth)
    if len(one) != len(other):
        return False
    if type_of_one == "list":
        return all(equal(a, b, budget, depth + 1) for a, b in zip(one, other, strict=True))
    return all(key in other and equal(one[key], other[key], budget, depth + 1) for key in one)


def holds(items: list[Any], wanted: Any, budget: Budget) -> bool:
    """Tell whether a list has an item that is the same JSON."""
    for item in items:
        budget.spend(1)
        if equal(item, wanted, budget):
            return True
    return False


def identity(value: Any, budget: Budget, depth: int = 0) -> Any:
    """Return something hashable that is equal exactly when the values are."""
    budget.spend(1)
    _check_depth(depth)
    type_name = kind(value)
    if type_name == "list":
        budget.allocate_list(len(value))
        return type_name, tuple(identity(item, budget, depth + 1) for item in value)
    if type_name == "map":
        budget.allocate_list(2 * len(value))
        return type_name, frozenset(
            (key, identity(item, budget, depth + 1)) for key, item in value.items()
        )
    if type_name == "unsupported":
        raise TypeMismatch(
            "A value that JSON cannot carry cannot be compared: select a part of it."
        )
    return type_name, value


def require_order(one: Any, other: Any, operator: str) -> None:
    """Refuse a pair of values that has no order.

    Raises:
        TypeMismatch: unless both are numbers, strings, dates or durations.
    """
    if kind(one) != kind(other) or kind(one) not in ORDERED:
        raise TypeMismatch(
            f"`{operator}` cannot compare {described(one)} with {described(other)}: "
            "give it two numbers, strings, dates or durations; number(), string() and date() convert."
        )


def export(value: Any, charge: Charge, depth: int = 0) -> Any:
    """Return a value as fresh JSON: dates as RFC 3339, durations as seconds.

    Raises:
        LimitExceeded: what `charge` raises, a number that JSON cannot carry, or a depth over `MAX_VALUE_DEPTH`.
        TypeMismatch: the scope held something that is no JSON.
    """
    exporter = _EXPORTERS.get(value.__class__) or _EXPORTERS_BY_KIND.get(kind(value))
    if exporter is None:
        raise TypeMismatch("The result holds a value that JSON cannot carry: select a part of it.")
    return exporter(value, charge, depth)


def to_text(value: Any, charge: Charge) -> str:
    """Return a value as it appears inside text: strings as they are, null as nothing, all else as compact JSON."""
    if value is None:
        return ""
    plain = export(value, charge)
    return plain if plain.__class__ is str else to_json(plain)


def to_json(plain: Any) -> str:
    """Return the compact JSON of an exported value.

    Raises:
        InvalidValue: when a string is not valid Unicode.
    """
    try:
        return orjson.dumps(plain).decode()
    except TypeError:
        raise InvalidValue(
            "A string holds half of a surrogate pair: replace it at its source."
        ) from None


def _check_depth(depth: int) -> None:
    if depth > MAX_VALUE_DEPTH:
        raise LimitExceeded(f"A value is nested deeper than {MAX_VALUE_DEPTH} levels.")


def _export_constant(value: Any, charge: Charge, _depth: int) -> Any:
    charge(_JSON_SCALAR_BYTES)
    return value


def _export_number(value: int | float, charge: Charge, _depth: int) -> int | float:
    charge(_JSON_SCALAR_BYTES)
    return checked(value)


def _export_text(value: str, charge: Charge, _depth: int) -> str:
    charge(text_bytes(value) + 2)
    return str(value)


def _export_list(value: list[Any], charge: Charge, depth: int) -> list[Any]:
    _check_depth(depth)
    charge(_JSON_CONTAINER_BYTES + len(value))
    return [export(item, charge, depth + 1) for item in value]


def _export_map(value: Mapping[str, Any], charge: Charge, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    charge(_JSON_CONTAINER_BYTES)
    plain: dict[str, Any] = {}
    for key, item in value.items():
        charge(text_bytes(key) + _JSON_SCALAR_BYTES)
        plain[key] = export(item, charge, depth + 1)
    return plain


def _export_date(value: datetime, charge: Charge, _depth: int) -> str:
    return str(_export_text(date_text(value), charge, 0))


def _export_duration(value: timedelta, charge: Charge, _depth: int) -> int | float:
    return _export_number(seconds_of(value), charge, 0)


Exporter = Callable[[Any, Charge, int], Any]
_EXPORTERS_BY_KIND: dict[str, Exporter] = {
    "null": _export_constant,
    "boolean": _export_constant,
    "number": _export_number,
    "string": _export_text,
    "list": _export_list,
    "map": _export_map,
    "date": _export_date,
    "duration": _export_duration,
}
_EXPORTERS: dict[type, Exporter] = {
    known: _EXPORTERS_BY_KIND[name] for known, name in _KINDS.items()
}
