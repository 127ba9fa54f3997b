"""How many runs deep a call is made: told to whoever is called, so that a webhook that calls itself comes to an end."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

RUN_DEPTH_HEADER: Final = "X-Run-Depth"
MAX_DIGITS: Final = 3
_CURRENT: ContextVar[int | None] = ContextVar("run_depth", default=None)


@contextmanager
def calling_at(depth: int) -> Iterator[None]:
    """Make the calls within, in whatever tasks and threads it begins, for a run that lies so deep."""
    token = _CURRENT.set(depth)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_depth() -> int:
    """Return how deep the run lies for which calls are made here; 0 outside of runs."""
    return _CURRENT.get() or 0


def depth_to_tell() -> str | None:
    """Return the depth of a run that a call made here would start; None outside of runs."""
    depth = _CURRENT.get()
    return None if depth is None else str(depth + 1)


def told_depth(text: str | None) -> int:
    """Return the depth that a request tells, 0 when it tells none: whoever lies only stops their own runs sooner."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return 0
    return int(text)
