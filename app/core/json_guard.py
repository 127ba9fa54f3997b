"""Parse JSON from outside: one parse, one walk, and only what both databases can keep."""

import json
from collections.abc import Collection
from itertools import repeat
from typing import Any, Final

import orjson

from app.core.errors import MalformedBody

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_KEY_CHARACTERS: Final = 256
SMALLEST_INT: Final = -(2**63)
LARGEST_INT: Final = 2**63 - 1


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        MalformedBody: no JSON, or JSON beyond the limits; the message says what and how to mend it.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(_sentence(error)) from None
    if _walk(value):
        # orjson turns integers beyond 64 bits into floats; the standard parser still sees them.
        json.loads(body, parse_int=_checked_int)
    return value


def check_json(value: Any) -> None:
    """Check a parsed value against the limits.

    Raises:
        MalformedBody: a limit is broken.
    """
    _walk(value)


def _walk(value: Any) -> bool:
    """Check every value; tell whether a float is so large that it may have been written as an integer."""
    seen, large_float = 1, False
    pending = [(value, 1)]
    while pending:
        value, depth = pending.pop()
        kind = type(value)
        if kind is dict or kind is list:
            children = _children(value, depth)
            seen += len(children)
            if seen > MAX_NODES:
                raise MalformedBody(
                    f"The JSON holds more than {MAX_NODES} values: send it in parts."
                )
            pending.extend(zip(children, repeat(depth + 1)))
        elif kind is float:
            large_float = large_float or abs(value) >= LARGEST_INT
        elif kind is str:
            _check_text(value)
        elif kind is int:
            _check_int(value)
    return large_float


def _children(value: dict[str, Any] | list[Any], depth: int) -> Collection[Any]:
    if depth > MAX_DEPTH:
        raise MalformedBody(f"The JSON is nested deeper than {MAX_DEPTH} levels: flatten it.")
    if isinstance(value, list):
        return value
    _check_keys(value)
    return value.values()


def _check_keys(value: dict[str, Any]) -> None:
    for key in value:
        if len(key) > MAX_KEY_CHARACTERS:
            raise MalformedBody(
                f"The key {key[:40]!r}… is longer than {MAX_KEY_CHARACTERS} characters: shorten it."
            )
        _check_text(key)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise MalformedBody("The text holds a NUL character (\\u0000): remove it.")


def _check_int(number: int) -> None:
    if not SMALLEST_INT <= number <= LARGEST_INT:
        raise MalformedBody("An integer does not fit in 64 bits: send it as a string.")


def _checked_int(digits: str) -> int:
    if len(digits) > 20:
        _check_int(LARGEST_INT + 1)
    number = int(digits)
    _check_int(number)
    return number


def _sentence(error: orjson.JSONDecodeError) -> str:
    return f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
