"""The hosts that the attempt in progress may call. The outbound transport asks before each request, also after a redirect."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

HostRule = Callable[[str], None]
"""Does nothing when a host may be called; raises PolicyViolation when it may not."""
_CURRENT: ContextVar[HostRule | None] = ContextVar("host_rule", default=None)
_URL_FIELD: Final = re.compile(r"(?:.*_)?ur[il]", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"\s*https?:[/\\]{2}([^/?#\\]*)", re.IGNORECASE)
_PORT: Final = re.compile(r":\d*\Z")
EXPRESSION: Final = "${{"


@contextmanager
def calling_by(rule: HostRule | None) -> Iterator[None]:
    """Hold the calls that are made within, in whatever tasks and threads it begins, to a rule."""
    token = _CURRENT.set(rule)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def require_host(host: str) -> None:
    """Do nothing when the attempt in progress may call a host.

    Raises:
        PolicyViolation: it may not.
    """
    rule = _CURRENT.get()
    if rule is not None:
        rule(host)


def host_of(url: str) -> str | None:
    """Return the host that a text calls; None when it is no URL, or an expression says which."""
    found = _AUTHORITY.match(url)
    if found is None or EXPRESSION in found[1]:
        return None
    return _PORT.sub("", found[1].rpartition("@")[2]) or None


def hosts_in(config: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the fields of a config that hold URLs (they are called `url`, `uri`, `…_url` or `…_uri`), with their hosts."""
    found = []
    for name, value in config.items():
        if isinstance(value, str) and _URL_FIELD.fullmatch(name):
            host = host_of(value)
            if host is not None:
                found.append((name, host))
    return found
