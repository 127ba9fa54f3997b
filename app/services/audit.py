"""What is put on record of changes: who did what to what, in the transaction of the change itself."""

from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.core.statuses import ActorKind
from app.db.session import before_commit
from app.db.tenancy import release
from app.engine.audit.appending import append, key_of
from app.engine.audit.entry import SYSTEM, Actor, Entry
from app.services.callers import Caller

_PENDING = "audit"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done. `action` is `<what>.<done>`, such as `workflow.deleted`; `details` never hold a secret."""

    action: str
    target_kind: str
    target_id: str
    owner_id: str | None = None
    """Whose it is: a user or a team; None: the platform's."""
    details: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    """The run that it is about, if any: its evidence bundle tells of it."""


def record(session: Session, by: Caller | Actor | None, change: Change) -> None:
    """Put a change on record with the session's commit; nobody stands for the platform itself.

    Entries are written at the end of the transaction: each is chained to the one before it, and who does that holds up all
    others who want to.

    Raises:
        RuntimeError: the session is not one of `transaction`, or its engine has no key: the entry would be lost.
    """
    pending = session.info.get(_PENDING)
    if pending is None:
        key_of(session.get_bind())
        before_commit(session, _write)
        pending = session.info[_PENDING] = []
    pending.append(
        Entry(
            actor_of(by),
            change.action,
            change.target_kind,
            change.target_id,
            change.owner_id,
            change.details,
            change.run_id,
        )
    )


def actor_of(by: Caller | Actor | None) -> Actor:
    """Return who did something as the audit log tells it."""
    if by is None:
        return SYSTEM
    if isinstance(by, Actor):
        return by
    kind = ActorKind.USER if by.api_key_id is None else ActorKind.API_KEY
    return Actor(kind, by.id, by.email, by.api_key_id, by.address)


def visitor(email: str, address: str | None) -> Actor:
    """Return somebody who claims to have an account and is not logged in."""
    return Actor(ActorKind.USER, email=email, address=address)


def _write(session: Session) -> None:
    release(session)  # the chain is the platform's: its newest entry is hardly ever the tenant's
    append(session.connection(), session.info.pop(_PENDING))
