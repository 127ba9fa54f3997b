"""One entry of the audit log: who did what to what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.statuses import ActorKind


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as far as it is known."""

    kind: ActorKind
    id: str | None = None
    """The account's."""
    email: str | None = None
    """The account's, or the one that they claimed to have."""
    api_key_id: str | None = None
    address: str | None = None
    """Where the request came from."""


SYSTEM = Actor(ActorKind.SYSTEM)
"""The platform itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was done. `action` is `<what>.<done>`, such as `workflow.deleted`; `details` never hold a secret."""

    actor: Actor
    action: str
    target_kind: str
    target_id: str
    owner_id: str | None = None
    """Whose it is: a user or a team; None: the platform's."""
    details: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    """The run that it is about: its evidence bundle tells of it."""


@dataclass(frozen=True, slots=True)
class Chained:
    """An entry in its place."""

    seq: int
    at: datetime
    entry: Entry
    previous_hash: str
    hash: str
