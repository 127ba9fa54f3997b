"""Who did what to a run, when and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from app.engine.planning.record import rfc3339

Action = Literal["pause", "resume", "cancel", "retry"]
HINT_GRACE: Final = timedelta(seconds=1)
"""How long a run that a person lets go on is left to its hint. A claim passes over a row that a second control holds in that
moment, so this happens more often than to new runs, and somebody is watching."""


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
