"""What is put on record of changes: who did what to what, in the transaction of the change itself."""

from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.services.callers import Caller

PENDING = "audit"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done. `action` is `<what>.<done>`, such as `workflow.deleted`; `details` never hold a secret."""

    action: str
    target_kind: str
    target_id: str
    owner_id: str | None = None
    """Whose it is: a user or a team; None: the platform's."""
    details: dict[str, Any] = field(default_factory=dict)


def record(session: Session, caller: Caller | None, change: Change) -> None:
    """Put a change on record with the session's commit; no caller stands for the platform itself."""
    session.info.setdefault(PENDING, []).append((caller, change))
