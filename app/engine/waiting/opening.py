"""Begin and forget waits: the part of a checkpoint that concerns steps which wait."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from app.core.statuses import AttemptStatus, WaitKind
from app.engine.approvals.opening import open_approvals
from app.engine.checkpoint import Checkpoint
from app.engine.followups import Followups
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Suspended
from app.engine.waiting import store
from app.engine.waiting.closing import close_waits


@dataclass(frozen=True, slots=True)
class OpenedWait:
    """A wait that begins in this commit."""

    checkpoint: Checkpoint
    state: StepState
    suspended: Suspended

    def row(self) -> dict[str, Any]:
        """Return the row of `waits`; what the kind needs in columns of its own, its `data` names."""
        data = self.suspended.data
        return {
            "run_id": self.checkpoint.run_id,
            "path": self.state.path,
            "attempt": self.state.attempt,
            "owner_id": self.checkpoint.facts.owner_id,
            "kind": self.suspended.wait.kind,
            "due_at": self.suspended.wait.until,
            "on_due": self.suspended.on_due,
            "data": data,
            "event_type": data.get("event_type"),
            "correlation_id": data.get("correlation_id"),
            "child_run_id": data.get("child_run_id"),
            "created_at": self.state.started_at,
            "fresh": self.suspended.wait.kind is WaitKind.EVENT,
        }


Opener = Callable[[Connection, Sequence[OpenedWait]], Followups]


def _await_events(connection: Connection, opened: Sequence[OpenedWait]) -> Followups:
    """The event may be here already: it can only be looked for once the wait is committed."""
    del connection
    return Followups(awaited=tuple(wait.checkpoint.run_id for wait in opened))


OPENERS: Final[Mapping[WaitKind, Opener]] = {
    WaitKind.APPROVAL: open_approvals,
    WaitKind.EVENT: _await_events,
}
"""What a kind of wait needs besides its row, in the same transaction."""


def write_waits(connection: Connection, batch: Sequence[Checkpoint]) -> Followups:
    """Write down the waits that begin, and forget those of steps that are settled; returns what is to follow."""
    opened = [wait for checkpoint in batch for wait in _opened(checkpoint)]
    closed = [row for checkpoint in batch for row in _closed(checkpoint)]
    if closed:
        close_waits(connection, closed)
    if not opened:
        return Followups()
    store.OPEN.run(connection, [wait.row() for wait in opened])
    followups = Followups()
    for kind, opener in OPENERS.items():
        of_kind = [wait for wait in opened if wait.suspended.wait.kind is kind]
        if of_kind:
            followups += opener(connection, of_kind)
    return followups


def _opened(checkpoint: Checkpoint) -> Sequence[OpenedWait]:
    return [
        OpenedWait(checkpoint, state, brought.suspended)
        for state in checkpoint.states
        if state.status is AttemptStatus.WAITING
        and (brought := checkpoint.brought.get(state.path)) is not None
        and brought.suspended is not None
    ]


def _closed(checkpoint: Checkpoint) -> Sequence[dict[str, Any]]:
    return [
        {"run_id": checkpoint.run_id, "path": state.path, "attempt": state.attempt}
        for state in checkpoint.states
        if state.wait is not None and state.status is not AttemptStatus.WAITING
    ]
