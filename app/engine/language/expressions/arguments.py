"""Checks of what functions are given. Each returns the value, or says what is needed and how to get it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.engine.language.expressions.faults import TypeMismatch
from app.engine.language.expressions.temporal import parse_date
from app.engine.language.expressions.values import described, kind


def text(value: Any, function: str) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise _mismatch(function, "a string", value, "string() converts")
    return value


def items(value: Any, function: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        advice = (
            "`.keys()` and `.values()` make lists of a map"
            if kind(value) == "map"
            else "`[x]` makes one"
        )
        raise _mismatch(function, "a list", value, advice)
    return value


def mapping(value: Any, function: str) -> Mapping[str, Any]:
    """Return a map."""
    if kind(value) != "map":
        raise _mismatch(function, "a map", value, 'write one as `{"key": x}`')
    found: Mapping[str, Any] = value
    return found


def number(value: Any, function: str) -> int | float:
    """Return a number; true and false are none."""
    if kind(value) != "number":
        raise _mismatch(function, "a number", value, "number() converts")
    found: int | float = value
    return found


def whole(value: Any, function: str) -> int:
    """Return a whole number."""
    if kind(value) != "number" or not isinstance(value, int):
        raise _mismatch(function, "a whole number", value, "round() makes one")
    return value


def moment(value: Any, function: str) -> datetime:
    """Return a date; RFC 3339 text is read as one."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_date(value)
    raise _mismatch(function, "a date", value, "date() converts")


def _mismatch(function: str, needed: str, value: Any, advice: str) -> TypeMismatch:
    return TypeMismatch(f"{function}() needs {needed}, not {described(value)}: {advice}.")
