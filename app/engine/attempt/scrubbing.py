"""Take known secrets out of what an attempt leaves behind: exact values, also as they look when they are encoded.

What holds none of them costs one pass of the C library's search for each form.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, takewhile
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from app.engine.attempt.masking import MASK
from app.engine.credentials.kinds.data import MIN_SECRET_CHARACTERS

_HEX = re.compile("%[0-9A-F]{2}")
_FIXED_FROM: Final = (0, 2, 3)
"""Of base64, the first character that does not depend on 0, 1 or 2 bytes that stand before the value."""
LEAST_PIECE: Final = 8
"""What is left of a value that was cut is found from half of it on, and from so many characters."""


class Scrubber:
    """Knows the secrets that a run has used in this process, and replaces them by `***`. Grows; never forgets."""

    __slots__ = ("_forms", "_halves", "_values")

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._halves: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything to hide."""
        return bool(self._forms)

    def add(self, values: Iterable[str]) -> None:
        """Hide these values from now on; what is too short to be told from other text is passed over."""
        fresh = {value for value in values if len(value) >= MIN_SECRET_CHARACTERS} - self._values
        if fresh:
            self._values |= fresh
            forms = {form for value in fresh for form in forms_of(value)}.union(self._forms)
            self._forms = tuple(sorted(forms, key=len, reverse=True))
            self._halves = tuple({half for value in self._values for half in _halves_of(value)})

    @property
    def values(self) -> frozenset[str]:
        """Return what is hidden."""
        return frozenset(self._values)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if any(half in text for half in self._halves):
            for value in self._values:
                text = _without_pieces(text, value)
        return text

    def json(self, value: Any) -> Any:
        """Return a JSON value without the secrets; the value itself when it holds none."""
        if not self._forms:
            return value
        encoded = orjson.dumps(value).decode()
        known = chain(self._forms, self._halves)
        return self._walk(value) if any(form in encoded for form in known) else value

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self._walk(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        return MASK if self.text(str(value)) != str(value) else value


NOTHING_TO_HIDE: Final = Scrubber()
"""Stands where no secret was used; nothing is ever added to it."""


def forms_of(value: str) -> Iterator[str]:
    """Yield the forms in which a value is likely to turn up."""
    yield value.lower()  # as hosts and names of headers are written
    plain = (value, *_base64_of(value.encode()), value.encode().hex(), value.encode().hex().upper())
    for text in plain:
        for encoded in (text, quote(text), quote(text, safe=""), quote_plus(text)):
            yield encoded
            yield _HEX.sub(lambda found: found[0].lower(), encoded)
        for ascii_only in (True, False):
            escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield escaped
            yield json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]


def _halves_of(value: str) -> Iterator[str]:
    """Yield both halves of a value, also as JSON writes them; none of a short one."""
    half = len(value) // 2
    if half >= LEAST_PIECE:
        for piece in (value[:half], value[-half:]):
            yield piece
            yield json.dumps(piece, ensure_ascii=False)[1:-1]


def _without_pieces(text: str, value: str) -> str:
    """Return a text without what is left of a value that was cut off or cut into two: libraries shorten what their errors tell."""
    half = len(value) // 2
    if half < LEAST_PIECE:
        return text
    if value[:half] in text:
        text = _without_beginnings(text, value, half)
    if value[-half:] in text:
        text = _without_beginnings(text[::-1], value[::-1], half)[::-1]
    return text


def _without_beginnings(text: str, value: str, least: int) -> str:
    kept, before = [], 0
    while (start := text.find(value[:least], before)) >= 0:
        kept += [text[before:start], MASK]
        pairs = zip(value, text[start : start + len(value)], strict=False)
        before = start + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return "".join([*kept, text[before:]])


def _base64_of(raw: bytes) -> Iterator[str]:
    """Yield the characters of base64 that stand for some bytes wherever they stand in a longer text."""
    for before, first in enumerate(_FIXED_FROM):
        characters = (before + len(raw)) * 8 // 6
        text = base64.b64encode(bytes(before) + raw).decode()[first:characters]
        yield text
        yield text.translate({ord("+"): "-", ord("/"): "_"})
