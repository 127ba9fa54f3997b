"""What the operators do to values. Each takes the frame, to count its work, and its operands."""

import math
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from app.engine.language.expressions.access import Run
from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import InvalidValue, TypeMismatch
from app.engine.language.expressions.temporal import added, shifted
from app.engine.language.expressions.values import (
    NUMBERS,
    checked,
    described,
    equal,
    holds,
    kind,
    require_order,
)

Apply = Callable[[Frame, Any, Any], Any]

_ITEMS_PER_STEP_SHIFT = 4
_QUICKLY_COMPARED = 1_024
_SAME_BY_CLASS = frozenset({str, int, float, bool})


def operation(first: Run, rest: tuple[tuple[str, Run], ...]) -> Run:
    """Return the closure of operators of one precedence, applied from left to right."""
    steps = tuple((OPERATORS[symbol], operand) for symbol, operand in rest)
    apply, second = steps[0]
    if len(steps) == 1:
        return lambda frame: apply(frame, first(frame), second(frame))

    def run(frame: Frame) -> Any:
        value = first(frame)
        for apply, operand in steps:
            value = apply(frame, value, operand(frame))
        return value

    return run


def conjunction(operands: tuple[Run, ...]) -> Run:
    """Return the closure of `&&`: stops at the first false."""

    def run(frame: Frame) -> bool:
        for operand in operands:
            value = operand(frame)
            if value is False:
                return False
            if value is not True:
                raise not_boolean(value, "`&&`")
        return True

    return run


def disjunction(operands: tuple[Run, ...]) -> Run:
    """Return the closure of `||`: stops at the first true."""

    def run(frame: Frame) -> bool:
        for operand in operands:
            value = operand(frame)
            if value is True:
                return True
            if value is not False:
                raise not_boolean(value, "`||`")
        return False

    return run


def negation(operand: Run) -> Run:
    """Return the closure of `!`."""

    def run(frame: Frame) -> bool:
        value = operand(frame)
        if value.__class__ is not bool:
            raise not_boolean(value, "`!`")
        return not value

    return run


def minus(operand: Run) -> Run:
    """Return the closure of the unary `-`."""

    def run(frame: Frame) -> Any:
        value = operand(frame)
        if kind(value) == "number":
            return checked(-value)
        if value.__class__ is timedelta:
            return -value
        raise TypeMismatch(f"`-` needs a number, not {described(value)}: number() converts.")

    return run


def conditional(test: Run, yes: Run, no: Run) -> Run:
    """Return the closure of `test ? yes : no`."""

    def run(frame: Frame) -> Any:
        value = test(frame)
        if value.__class__ is not bool:
            raise not_boolean(value, "`?:`")
        return yes(frame) if value else no(frame)

    return run


def coalesce(operands: tuple[Run, ...]) -> Run:
    """Return the closure of `??`: the first value that is not null, else the last."""

    def run(frame: Frame) -> Any:
        for operand in operands:
            value = operand(frame)
            if value is not None:
                return value
        return None

    return run


def not_boolean(value: Any, who: str) -> TypeMismatch:
    """Return the fault of a value that stands where true or false must."""
    return TypeMismatch(
        f'{who} needs true or false, not {described(value)}: compare it, such as `x != null`, `x == "yes"` or `size(x) > 0`.'
    )


def _same(frame: Frame, one: Any, other: Any) -> bool:
    known = one.__class__
    if known is other.__class__ and known in _SAME_BY_CLASS:
        return bool(one == other)
    return equal(one, other, frame)


def _different(frame: Frame, one: Any, other: Any) -> bool:
    return not _same(frame, one, other)


def _ordering(symbol: str, compare: Callable[[Any, Any], bool]) -> Apply:
    def apply(_frame: Frame, one: Any, other: Any) -> bool:
        if one.__class__ not in NUMBERS or other.__class__ not in NUMBERS:
            require_order(one, other, symbol)
        return compare(one, other)

    return apply


def _contained(frame: Frame, item: Any, container: Any) -> bool:
    type_name = kind(container)
    if type_name == "list":
        if item.__class__ is str and len(item) <= _QUICKLY_COMPARED:
            frame.spend(1 + (len(container) >> _ITEMS_PER_STEP_SHIFT))
            return item in container
        return holds(container, item, frame)
    if type_name == "map":
        return kind(item) == "string" and item in container
    if type_name == "string" and kind(item) == "string":
        frame.scan(container)
        return item in container
    raise TypeMismatch(
        f"`in` cannot look for {described(item)} in {described(container)}: give it a list, a map, or text in text."
    )


def _add(frame: Frame, one: Any, other: Any) -> Any:
    if one.__class__ in NUMBERS and other.__class__ in NUMBERS:
        return checked(one + other)
    types = (kind(one), kind(other))
    if types == ("string", "string"):
        frame.allocate_text(one)
        frame.allocate_text(other)
        return one + other
    if types == ("list", "list"):
        frame.allocate_list(len(one) + len(other))
        return one + other
    return _add_rare(types, one, other)


def _add_rare(types: tuple[str, str], one: Any, other: Any) -> Any:
    match types:
        case ("number", "number"):
            return checked(one + other)
        case ("date", "duration"):
            return shifted(one, other)
        case ("duration", "date"):
            return shifted(other, one)
        case ("duration", "duration"):
            return added(one, other)
        case _:
            raise TypeMismatch(
                f"`+` cannot add {described(one)} and {described(other)}: convert with string(), number() or date()."
            )


def _subtract(_frame: Frame, one: Any, other: Any) -> Any:
    match kind(one), kind(other):
        case ("number", "number"):
            return checked(one - other)
        case ("date", "date"):
            return one - other
        case ("date", "duration"):
            return _earlier(one, other)
        case ("duration", "duration"):
            return added(one, -other)
        case _:
            raise TypeMismatch(
                f"`-` cannot take {described(other)} from {described(one)}: convert with number() or date()."
            )


def _earlier(moment: datetime, by: timedelta) -> datetime:
    return shifted(moment, -by)


def _multiply(_frame: Frame, one: Any, other: Any) -> Any:
    _require_numbers("*", one, other)
    return checked(one * other)


def _divide(_frame: Frame, one: Any, other: Any) -> Any:
    _require_numbers("/", one, other)
    _require_not_zero(other)
    if one.__class__ is int and other.__class__ is int and one % other == 0:
        return checked(one // other)
    return checked(one / other)


def _remainder(_frame: Frame, one: Any, other: Any) -> Any:
    _require_numbers("%", one, other)
    _require_not_zero(other)
    if isinstance(one, float) or isinstance(other, float):
        return math.fmod(one, other)
    rest = abs(one) % abs(other)
    return -rest if one < 0 else rest


def _require_numbers(symbol: str, one: Any, other: Any) -> None:
    for value in (one, other):
        if kind(value) != "number":
            raise TypeMismatch(
                f"`{symbol}` needs two numbers, not {described(value)}: number() converts."
            )


def _require_not_zero(divisor: Any) -> None:
    if divisor == 0:
        raise InvalidValue(
            "Division by zero: test the divisor first, such as `n == 0 ? 0 : total / n`."
        )


OPERATORS: dict[str, Apply] = {
    "==": _same,
    "!=": _different,
    "<": _ordering("<", operator.lt),
    "<=": _ordering("<=", operator.le),
    ">": _ordering(">", operator.gt),
    ">=": _ordering(">=", operator.ge),
    "in": _contained,
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}
