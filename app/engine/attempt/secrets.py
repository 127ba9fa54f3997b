"""The credentials of one attempt: opened just before it, handed out to its node alone, each use noted."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from app.engine.attempt.scrubbing import Scrubber
from app.engine.credentials.credential import Credential, permits
from app.engine.language.expressions import Expression
from app.engine.sdk import Fail

OAUTH: Final = "oauth2_client_credentials"
ACCESS_TOKEN: Final = "access_token"
AccessToken = Callable[[str, str | None], Awaitable[str]]
"""Gives an access token for a credential, by name, and another one than the given."""


class HostNotAllowed(httpx.LocalProtocolError):
    """A credential may not be sent to this host."""


@dataclass(slots=True)
class AttemptSecrets:
    """What an attempt may use of the vault."""

    scrubber: Scrubber
    named: Mapping[str, Credential]
    """Those that fields of its config name."""
    in_config: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those whose values stand in its config, with the hosts that they may be sent to."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """The ids of all of them, by name."""
    access_token: AccessToken | None = None
    """None in a process of its own: it was given one."""
    uses: dict[tuple[str, str | None], None] = field(default_factory=dict)
    """Name and host of what was used."""
    _given: dict[str, str] = field(default_factory=dict, init=False)

    async def credential(self, name: str, host: str | None, *, fresh: bool) -> Credential:
        """Return a credential to the node.

        Raises:
            Fail: no field names it, or it may not be sent to that host.
            Retry: no access token could be fetched.
        """
        found = self.named.get(name)
        if found is None:
            message = "No field of this step's config names that credential: declare it as `CredentialName`."
            raise Fail(message, code="unknown_credential")
        if host is not None:
            host = ascii_host(host)
            if not permits(found.allowed_hosts, host):
                raise Fail(not_allowed(name, host), code="host_not_allowed")
        self.uses[name, host] = None
        if found.kind != OAUTH or self.access_token is None:
            return found
        refused = self._given.get(name) if fresh else None
        token = await self.access_token(name, refused)
        self.scrubber.add([token])
        self._given[name] = token
        return Credential(name, OAUTH, {**found, ACCESS_TOKEN: token}, found.allowed_hosts)

    def guard(self, host: str) -> None:
        """Let a request pass to a host to which everything in the config may be sent.

        Raises:
            HostNotAllowed: something may not.
        """
        for name, allowed in self.in_config.items():
            if not permits(allowed, host):
                raise HostNotAllowed(not_allowed(name, host))
            self.uses[name, host] = None

    async def for_a_child(self) -> dict[str, Any]:
        """Return it as JSON, for a process of the attempt's own; what is handed over counts as used.

        Raises:
            Fail, Retry: an access token could not be fetched.
        """
        named = {}
        for name in self.named:
            given = await self.credential(name, None, fresh=False)
            named[name] = {
                "kind": given.kind,
                "data": dict(given),
                "allowed_hosts": given.allowed_hosts,
            }
        hidden = sorted(self.scrubber.values)
        return {"named": named, "in_config": dict(self.in_config), "hidden": hidden}

    def used(self) -> Iterator[tuple[str, str | None]]:
        """Yield name and host of what was used; without a host only what was sent to none."""
        sent = {name for name, host in self.uses if host is not None}
        return ((name, host) for name, host in self.uses if host is not None or name not in sent)


def secrets_of_a_child(given: Mapping[str, Any]) -> AttemptSecrets:
    """Return what the worker has handed over to a process of the attempt's own."""
    scrubber = Scrubber()
    scrubber.add(given["hidden"])
    named = {name: Credential(name, **told) for name, told in given["named"].items()}
    return AttemptSecrets(scrubber, named, given["in_config"])


def ascii_host(host: str) -> str:
    """Return a host as it goes over the wire."""
    return host if host.isascii() else httpx.URL(scheme="https", host=host).raw_host.decode()


def not_allowed(name: str, host: str) -> str:
    """Return the sentence for a host that a credential may not be sent to."""
    return f"The credential {name!r} may not be sent to {host}: call one of its `allowed_hosts`, or add this one to them."


def derived(expressions: Collection[Expression], scope: Mapping[str, Any]) -> Iterator[str]:
    """Yield what expressions make of secrets, as far as it is text; constants of the expression are none."""
    for expression in expressions:
        for text in _texts(expression.evaluate(scope)):
            if text not in expression.source:
                yield text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
