"""The answer of a guard that lets nothing start. A value: what goes with it into the tables, and onto people's screens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["kill_switch", "policy"]


@dataclass(frozen=True, slots=True)
class Held:
    """Why nothing more of a run starts, until something outside of it changes; then it goes on from where it stood."""

    kind: Kind
    id: str
    """Of the row that holds it back, such as a kill switch: `runs.held_by`."""
    code: str
    """Stable, for programs."""
    reason: str
    """A sentence that says who has stopped it, why, and who can let it go on."""

    @property
    def shown(self) -> dict[str, Any]:
        """Return what stands in `waiting_for` of a run that it holds."""
        return {"kind": self.kind, "id": self.id, "code": self.code, "reason": self.reason}


Ask = Callable[[], Held | None]
"""Asks a guard something; None: go on."""
