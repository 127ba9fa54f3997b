"""Who did what to a run, when and why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.engine.planning.record import rfc3339

Action = Literal["pause", "resume", "cancel", "retry"]


@dataclass(frozen=True, slots=True)
class Control:
    """`by` is a user's e-mail address, or what part of the engine did it."""

    action: Action
    by: str
    at: datetime
    reason: str | None = None

    @property
    def stored(self) -> dict[str, Any]:
        """Return it as JSON, as a run shows it."""
        return {
            "action": self.action,
            "by": self.by,
            "at": rfc3339(self.at),
            "reason": self.reason,
        }
