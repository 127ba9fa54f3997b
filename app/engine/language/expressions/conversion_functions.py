"""Functions on numbers, and from one type to another."""

import json
import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NoReturn

from app.engine.language.expressions import arguments
from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import InvalidValue, LimitExceeded, TypeMismatch
from app.engine.language.expressions.lexer import MAX_NUMBER_TEXT, NUMBER, parse_number
from app.engine.language.expressions.temporal import seconds_of
from app.engine.language.expressions.values import (
    checked,
    described,
    export,
    kind,
    to_text,
)
from app.engine.language.expressions.values import (
    to_json as json_of,
)

MAX_JSON_DEPTH = 64
MAX_DIGITS = 15

_BYTES_PER_NODE = 64
_EXACT = Context(prec=40)
_NUMBER = re.compile(rf"-?{NUMBER}")


def absolute(_frame: Frame, value: Any) -> int | float:
    """Return the number without its sign."""
    return checked(abs(arguments.number(value, "abs")))


def floor(_frame: Frame, value: Any) -> int | float:
    """Return the whole number at or below."""
    return checked(math.floor(checked(arguments.number(value, "floor"))))


def ceiling(_frame: Frame, value: Any) -> int | float:
    """Return the whole number at or above."""
    return checked(math.ceil(checked(arguments.number(value, "ceil"))))


def rounded(_frame: Frame, value: Any, digits: Any = 0) -> int | float:
    """Return the number rounded, halves away from zero: to a whole number, or to some digits after the point."""
    number = checked(arguments.number(value, "round"))
    places = arguments.whole(digits, "round")
    if not 0 <= places <= MAX_DIGITS:
        raise InvalidValue(f"round() takes 0 to {MAX_DIGITS} digits.")
    if isinstance(number, int) or abs(number) >= 2**53:
        return checked(int(number)) if places == 0 else number
    exact = Decimal(str(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)
    return int(exact) if places == 0 else float(exact) + 0.0  # no negative zero


def to_string(frame: Frame, value: Any) -> str:
    """Return the value as it appears inside text."""
    return to_text(value, frame.allocate)


def to_number(_frame: Frame, value: Any) -> int | float:
    """Return the number that a text holds; a duration gives its seconds."""
    type_name = kind(value)
    if type_name == "number":
        found: int | float = value
        return found
    if type_name == "duration":
        return seconds_of(value)
    if type_name != "string":
        raise TypeMismatch(
            f"number() needs a string, not {described(value)}: `x ? 1 : 0` converts a boolean."
        )
    text = value[: MAX_NUMBER_TEXT + 1].strip()
    if _NUMBER.fullmatch(text) is None:
        raise InvalidValue("number() cannot read this text: it takes numbers like 12, -0.5 or 1e3.")
    return parse_number(text)


def to_bool(_frame: Frame, value: Any) -> bool:
    """Return true or false from the texts `true` and `false`."""
    if isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    raise InvalidValue('bool() takes "true" and "false": compare other values, such as `x == 1`.')


def to_json(frame: Frame, value: Any) -> str:
    """Return the value as compact JSON."""
    return json_of(export(value, frame.allocate))


def from_json(frame: Frame, value: Any) -> Any:
    """Return the value that a JSON text holds."""
    text = arguments.text(value, "from_json")
    frame.scan(text)
    nodes = 1 + text.count(",") + text.count("[") + text.count("{")
    frame.allocate(len(text) + _BYTES_PER_NODE * nodes)
    try:
        parsed = json.loads(
            text, parse_int=parse_number, parse_float=parse_number, parse_constant=_refuse
        )
        _check(parsed, frame, 0)
    except (ValueError, RecursionError):
        raise InvalidValue("from_json() got text that is not valid JSON.") from None
    return parsed


def _refuse(_constant: str) -> NoReturn:
    raise ValueError


def _check(value: Any, frame: Frame, depth: int) -> None:
    """Refuse what may not go on: deep nesting, and text that cannot be stored."""
    frame.spend(1)
    if depth > MAX_JSON_DEPTH:
        raise LimitExceeded(f"from_json() got more than {MAX_JSON_DEPTH} levels of nesting.")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, frame, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, frame, depth + 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError
    if not text.isascii():
        text.encode()  # half a surrogate pair raises UnicodeEncodeError, which is a ValueError
