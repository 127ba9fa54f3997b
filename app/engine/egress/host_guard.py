"""A further say in where calls go: what an attempt was given must not leave for a host that it is not meant for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Guard = Callable[[str], None]
HOST_GUARD: ContextVar[Guard | None] = ContextVar("host_guard", default=None)
"""Is asked about the host of every request, redirects included, and raises what the caller is to see. None: anything goes."""


@contextmanager
def guarded_by(guard: Guard | None) -> Iterator[None]:
    """Have a guard asked about all requests that are made in here."""
    before = HOST_GUARD.set(guard)
    try:
        yield
    finally:
        HOST_GUARD.reset(before)
