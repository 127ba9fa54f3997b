"""The hosts that the attempt in progress may call. The outbound transport asks before each request, also after a redirect."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from app.core.errors import PolicyViolation
from app.engine.guards.host_names import among, plain_host


@dataclass(frozen=True, slots=True)
class HostLimit:
    """What one policy says of hosts. Those that it `asks` about may be called once people have `granted` it."""

    whose: str
    who: str
    allowed: Sequence[str] | None
    denied: Sequence[str]
    asks: Sequence[str] = ()
    granted: Sequence[str] = ()

    def refusal(self, host: str) -> str | None:
        """Return why a host (in its plain spelling) may not be called; None when it may."""
        if among(host, self.denied):
            return sentence(self.whose, f"denies the host {host}", self.who)
        if self.allowed is not None and not among(host, self.allowed):
            return sentence(self.whose, f"does not allow the host {host}", self.who)
        if among(host, self.asks) and host not in self.granted:
            what = f"wants an approval for the host {host}, and nobody was asked because the step's config does not name it"
            return sentence(self.whose, what, self.who)
        return None


def sentence(whose: str, what: str, who: str) -> str:
    """Return a sentence that says whose policy refuses what, and who can change that."""
    return f"{whose} {what}: {who}"


def refusal_of(limits: Sequence[HostLimit], host: str) -> str | None:
    """Return why a host may not be called; None when it may."""
    host = plain_host(host)
    refusals = (limit.refusal(host) for limit in limits)
    return next((refusal for refusal in refusals if refusal is not None), None)


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


def rule_of(limits: Sequence[HostLimit]) -> HostRule | None:
    """Return the rule by which hosts may be called; None: all of them."""

    def require(host: str) -> None:
        refusal = refusal_of(limits, host)
        if refusal is not None:
            raise PolicyViolation(refusal)

    return require if limits else None


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
