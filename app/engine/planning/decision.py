"""What the board decides: the shapes of its answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.statuses import RunStatus
from app.engine.planning.record import StepState

RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that is parked: until a time (`kind` is `retry` for its next attempt), or for something to happen."""

    path: str
    kind: str
    until: datetime | None
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    status: RunStatus
    output: Any = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens next: the states to be recorded, those of them that start attempts, the waits, and the end."""

    changes: tuple[StepState, ...] = ()
    started: tuple[StepState, ...] = ()
    waits: tuple[Wait, ...] = ()
    end: End | None = None
