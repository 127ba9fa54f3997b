"""Take known secrets out of what an attempt leaves behind: exact values, also as they look when they are encoded.

What holds none of them costs one pass of the C library's search for each form.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from app.engine.attempt.masking import MASK
from app.engine.credentials.kinds.data import MIN_SECRET_CHARACTERS

_HEX = re.compile("%[0-9A-F]{2}")
_FIXED_FROM: Final = (0, 2, 3)
"""Of base64, the first character that does not depend on 0, 1 or 2 bytes that stand before the value."""


class Scrubber:
    """Knows the secrets that a run has used in this process, and replaces them by `***`. Grows; never forgets."""

    __slots__ = ("_forms", "_values")

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._forms: tuple[str, ...] = ()

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

    @property
    def values(self) -> frozenset[str]:
        """Return what is hidden."""
        return frozenset(self._values)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def json(self, value: Any) -> Any:
        """Return a JSON value without the secrets; the value itself when it holds none."""
        if not self._forms:
            return value
        encoded = orjson.dumps(value).decode()
        return self._walk(value) if any(form in encoded for form in self._forms) else value

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


def _base64_of(raw: bytes) -> Iterator[str]:
    """Yield the characters of base64 that stand for some bytes wherever they stand in a longer text."""
    for before, first in enumerate(_FIXED_FROM):
        characters = (before + len(raw)) * 8 // 6
        text = base64.b64encode(bytes(before) + raw).decode()[first:characters]
        yield text
        yield text.translate({ord("+"): "-", ord("/"): "_"})
