"""What a provider tells of somebody, and how we ask: values, known without the libraries that talk to providers."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from app.core.config import Settings
from app.core.errors import NotAuthenticated
from app.core.statuses import Role

RANDOM_BYTES: Final = 32


class SignInRefused(NotAuthenticated):
    """The sign-in did not succeed: begin again at `GET /api/v1/oidc/login`."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to sign in, known to one browser only: what the provider must send back, or be asked with."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider, after everything that it said was verified."""

    issuer: str
    subject: str
    email: str | None
    """Only one that the provider has verified."""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignInRules:
    """What the operator lets sign-ins do. `roles` by group; None: they do not touch roles."""

    registers: bool
    roles: Mapping[str, Role] | None = None
    addresses_are_proved: bool = field(default=False)
    """Accounts are made by people who know whose they are, not by whoever comes."""

    def role_of(self, groups: Sequence[str]) -> Role | None:
        """Return the strongest role that groups give, or member; None: roles are not the provider's business."""
        if self.roles is None:
            return None
        given = {self.roles[group] for group in groups if group in self.roles}
        return next((role for role in Role if role in given), Role.MEMBER)


class IdentityProvider(Protocol):
    """A provider of OpenID Connect."""

    async def authorization_url(self, attempt: Attempt, redirect_uri: str) -> str:
        """Return where a browser is sent to sign in."""
        ...

    async def identify(self, code: str, attempt: Attempt, redirect_uri: str) -> Identity:
        """Return whom a code stands for."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def new_attempt() -> Attempt:
    """Return an attempt that nobody can guess."""
    return Attempt(*(secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3)))


def rules_of(settings: Settings) -> SignInRules:
    """Return what the settings let sign-ins do."""
    entries = (entry.rpartition("=") for entry in settings.oidc_role_map)
    roles = {group.strip(): Role(role) for group, _, role in entries}
    return SignInRules(
        registers=settings.oidc_allow_registration,
        roles=roles if settings.oidc_role_claim is not None else None,
        addresses_are_proved=settings.registration == "closed",
    )


def groups_of(claim: Any) -> tuple[str, ...]:
    """Return the groups that a claim names: one text, or a list of them; anything else names none."""
    if isinstance(claim, str):
        return (claim,)
    if isinstance(claim, list):
        return tuple(group for group in claim if isinstance(group, str))
    return ()
