"""Functions on text. Each counts what it makes before it makes it."""

from typing import Any
from urllib.parse import quote

from app.engine.language.expressions import arguments, patterns
from app.engine.language.expressions.budget import Frame, text_bytes
from app.engine.language.expressions.faults import InvalidValue, TypeMismatch
from app.engine.language.expressions.values import described, holds, kind, to_text

_BYTES_PER_PIECE = 64
_BYTES_PER_QUOTED_BYTE = 3


def lower(frame: Frame, value: Any) -> str:
    """Return the text in lower case."""
    text = arguments.text(value, "lower")
    frame.allocate_text(text)
    return text.lower()


def upper(frame: Frame, value: Any) -> str:
    """Return the text in upper case."""
    text = arguments.text(value, "upper")
    frame.allocate_text(text)
    return text.upper()


def trim(frame: Frame, value: Any) -> str:
    """Return the text without white space at both ends."""
    text = arguments.text(value, "trim")
    frame.allocate_text(text)
    return text.strip()


def contains(frame: Frame, value: Any, part: Any) -> bool:
    """Tell whether a text holds a text, or a list an item."""
    if isinstance(value, str):
        frame.scan(value)
        return arguments.text(part, "contains") in value
    if isinstance(value, list):
        return holds(value, part, frame)
    raise TypeMismatch(
        f"contains() needs a string or a list, not {described(value)}: for a map write `key in map`."
    )


def starts_with(_frame: Frame, value: Any, prefix: Any) -> bool:
    """Tell whether the text begins so."""
    return arguments.text(value, "starts_with").startswith(arguments.text(prefix, "starts_with"))


def ends_with(_frame: Frame, value: Any, suffix: Any) -> bool:
    """Tell whether the text ends so."""
    return arguments.text(value, "ends_with").endswith(arguments.text(suffix, "ends_with"))


def split(frame: Frame, value: Any, separator: Any) -> list[str]:
    """Return the pieces between separators; an empty separator gives the characters."""
    text, between = arguments.text(value, "split"), arguments.text(separator, "split")
    frame.scan(text)
    frame.allocate(text_bytes(text) + _BYTES_PER_PIECE * (text.count(between) + 1))
    return text.split(between) if between else list(text)


def join(frame: Frame, value: Any, separator: Any = "") -> str:
    """Return the items of a list as one text: strings, numbers and booleans, with a separator between."""
    pieces = arguments.items(value, "join")
    between = arguments.text(separator, "join")
    frame.allocate_list(len(pieces))
    frame.allocate_text(between, len(pieces))
    return between.join([_piece(frame, piece) for piece in pieces])


def replace(frame: Frame, value: Any, old: Any, new: Any) -> str:
    """Return the text with each `old` replaced by `new`; no pattern."""
    text = arguments.text(value, "replace")
    before, after = arguments.text(old, "replace"), arguments.text(new, "replace")
    frame.scan(text)
    frame.allocate_text(text)
    frame.allocate_text(after, text.count(before))
    return text.replace(before, after)


def matches(frame: Frame, value: Any, pattern: Any) -> bool:
    """Tell whether a regular expression (RE2) is found in the text."""
    text = arguments.text(value, "matches")
    return patterns.matches(text, arguments.text(pattern, "matches"), frame)


def url_encode(frame: Frame, value: Any) -> str:
    """Return the text as one safe piece of a URL: `/`, `?`, `&` and the like are escaped."""
    text = arguments.text(value, "url_encode")
    frame.allocate(_BYTES_PER_QUOTED_BYTE * text_bytes(text))
    frame.spend(len(text))
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidValue("url_encode() got text with half of a surrogate pair.") from None


def _piece(frame: Frame, value: Any) -> str:
    if kind(value) not in {"string", "number", "boolean"}:
        raise TypeMismatch(
            f"join() needs strings, numbers or booleans in its list, not {described(value)}: "
            "convert them with `.map(x, string(x))`."
        )
    return to_text(value, frame.allocate)
