"""What nodes ask the engine to do, carried out in the commit of their attempt's result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from app.core.statuses import AttemptStatus
from app.engine.attempt.context import CommandKind
from app.engine.checkpoint import Checkpoint
from app.engine.events.emitting import emit
from app.engine.followups import Followups
from app.engine.planning.record import StepState


@dataclass(frozen=True, slots=True)
class Issued:
    """A command with the attempt that gave it."""

    checkpoint: Checkpoint
    state: StepState
    data: Mapping[str, Any]


Carrier = Callable[[Connection, Sequence[Issued]], Followups]


def _emit(connection: Connection, issued: Sequence[Issued]) -> Followups:
    return emit(connection, [(one.checkpoint, one.state, one.data) for one in issued])


CARRIERS: Final[Mapping[CommandKind, Carrier]] = {"event": _emit}
"""What carries out each kind of command."""
OBEYED: Final = frozenset({AttemptStatus.SUCCEEDED, AttemptStatus.WAITING})
"""What a failed attempt asked for is not done: the next attempt will ask again."""


def carry_out(connection: Connection, batch: Sequence[Checkpoint]) -> Followups:
    """Carry out what the attempts of these checkpoints ask for; returns what is to follow."""
    issued: dict[CommandKind, list[Issued]] = {}
    for checkpoint in batch:
        for state in checkpoint.states:
            brought = checkpoint.brought.get(state.path)
            if brought is None or state.status not in OBEYED:
                continue
            for command in brought.commands:
                issued.setdefault(command.kind, []).append(Issued(checkpoint, state, command.data))
    followups = Followups()
    for kind, commands in issued.items():
        followups += CARRIERS[kind](connection, commands)
    return followups
