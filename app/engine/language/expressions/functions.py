"""The table of functions: all that an expression can call, as `size(x)` or as `x.size()`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from app.engine.language.expressions import conversion_functions as conversions
from app.engine.language.expressions import date_functions as dates
from app.engine.language.expressions import list_functions as lists
from app.engine.language.expressions import text_functions as texts
from app.engine.language.expressions.access import MISSING, Link, Run
from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import SyntaxFault, UnknownFunction, nearest
from app.engine.language.expressions.parser import MACROS

MAX_ARGUMENTS = 100


class Function(NamedTuple):
    """What a name calls, and how many arguments it takes (the value before the dot is the first)."""

    call: Callable[..., Any]
    least: int
    most: int


FUNCTIONS: dict[str, Function] = {
    "size": Function(lists.size, 1, 1),
    # text
    "lower": Function(texts.lower, 1, 1),
    "upper": Function(texts.upper, 1, 1),
    "trim": Function(texts.trim, 1, 1),
    "contains": Function(texts.contains, 2, 2),
    "starts_with": Function(texts.starts_with, 2, 2),
    "ends_with": Function(texts.ends_with, 2, 2),
    "split": Function(texts.split, 2, 2),
    "join": Function(texts.join, 1, 2),
    "replace": Function(texts.replace, 3, 3),
    "matches": Function(texts.matches, 2, 2),
    "url_encode": Function(texts.url_encode, 1, 1),
    # lists and maps
    "keys": Function(lists.keys, 1, 1),
    "values": Function(lists.values, 1, 1),
    "merge": Function(lists.merge, 2, MAX_ARGUMENTS),
    "sum": Function(lists.total, 1, 1),
    "min": Function(lists.smallest, 1, MAX_ARGUMENTS),
    "max": Function(lists.largest, 1, MAX_ARGUMENTS),
    "unique": Function(lists.unique, 1, 1),
    "flatten": Function(lists.flatten, 1, 1),
    "first": Function(lists.first, 1, 1),
    "last": Function(lists.last, 1, 1),
    "slice": Function(lists.cut, 2, 3),
    "reverse": Function(lists.turned, 1, 1),
    # numbers and conversion
    "abs": Function(conversions.absolute, 1, 1),
    "floor": Function(conversions.floor, 1, 1),
    "ceil": Function(conversions.ceiling, 1, 1),
    "round": Function(conversions.rounded, 1, 2),
    "number": Function(conversions.to_number, 1, 1),
    "string": Function(conversions.to_string, 1, 1),
    "bool": Function(conversions.to_bool, 1, 1),
    "to_json": Function(conversions.to_json, 1, 1),
    "from_json": Function(conversions.from_json, 1, 1),
    # dates and durations
    "date": Function(dates.date, 1, 1),
    "duration": Function(dates.duration, 1, 1),
    "year": Function(dates.year, 1, 1),
    "month": Function(dates.month, 1, 1),
    "day": Function(dates.day, 1, 1),
    "hour": Function(dates.hour, 1, 1),
    "minute": Function(dates.minute, 1, 1),
    "second": Function(dates.second, 1, 1),
    "weekday": Function(dates.weekday, 1, 1),
    "timestamp": Function(dates.timestamp, 1, 1),
    "format_date": Function(dates.format_date, 2, 2),
}


def function_named(name: str, given: int, position: int) -> Callable[..., Any]:
    """Return what a name calls with so many arguments.

    Raises:
        UnknownFunction: no such function; names the nearest.
        SyntaxFault: it takes fewer or more arguments.
    """
    if name in MACROS:
        raise SyntaxFault(
            f"{name}() at position {position} takes an item name and an expression: write `list.{name}(x, …)`.",
            position,
        )
    function = FUNCTIONS.get(name)
    if function is None:
        near = nearest(name, (*FUNCTIONS, *MACROS)) or " docs/expressions.md lists them all."
        raise UnknownFunction(
            f"There is no function `{name[:60]}` (position {position}).{near}", position
        )
    if not function.least <= given <= function.most:
        wanted = str(function.least)
        if function.most != function.least:
            wanted += f" to {function.most}"
        raise SyntaxFault(
            f"{name}() at position {position} takes {wanted} arguments counting the value before the dot, not {given}.",
            position,
        )
    return function.call


def call(function: Callable[..., Any], operands: tuple[Run, ...]) -> Run:
    """Return the closure of `name(…)`."""
    if len(operands) == 1:
        (operand,) = operands
        return lambda frame: function(frame, operand(frame))
    return lambda frame: function(frame, *[operand(frame) for operand in operands])


def method(function: Callable[..., Any], operands: tuple[Run, ...], *, optional: bool) -> Link:
    """Return the link `.name(…)`; an optional one ends the chain at null."""

    def follow(frame: Frame, value: Any) -> Any:
        if optional and value is None:
            return MISSING
        return function(frame, value, *[operand(frame) for operand in operands])

    return follow
