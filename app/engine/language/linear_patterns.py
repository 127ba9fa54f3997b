"""RE2, whose matching takes time in proportion to the text, whatever the pattern."""

from functools import cache
from importlib import import_module
from typing import Any


@cache
def re2() -> Any:
    """Return the library, loaded when the first pattern is met: its 2.4 MB lie idle in most processes otherwise."""
    return import_module("re2")
