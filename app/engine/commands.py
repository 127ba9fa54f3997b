"""What nodes ask the engine to do, carried out in the commit of their attempt's result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from app.core.statuses import AttemptStatus
from app.engine.attempt.context import CommandKind
from app.engine.checkpoint import Checkpoint
from app.engine.children.starting import child_run, refuse_children
from app.engine.events.emitting import emit
from app.engine.evidence.keeping import from_command, keep
from app.engine.followups import Followups
from app.engine.guards.budgets import Spender
from app.engine.guards.policy_book import book_of
from app.engine.intake import Accepted, Refused, accept
from app.engine.planning.record import StepState
from app.engine.responses import keep_responses


@dataclass(frozen=True, slots=True)
class Issued:
    """A command with the attempt that gave it."""

    checkpoint: Checkpoint
    state: StepState
    data: Mapping[str, Any]


Carrier = Callable[[Connection, Sequence[Issued]], Followups]


def _keep_evidence(connection: Connection, issued: Sequence[Issued]) -> Followups:
    found = [
        from_command(item.checkpoint.run_id, item.state.path, item.state.attempt, item.data)
        for item in issued
    ]
    keep(connection, found)
    return Followups()


def _emit(connection: Connection, issued: Sequence[Issued]) -> Followups:
    return emit(connection, [(item.checkpoint, item.state, item.data) for item in issued])


def _start_runs(connection: Connection, issued: Sequence[Issued]) -> Followups:
    runs = [
        child_run(item.checkpoint.run_id, item.state.path, item.checkpoint.facts, item.data)
        for item in issued
    ]
    now = max(datetime.fromisoformat(item.data["at"]) for item in issued)
    answers = accept(connection, runs, now)
    refused = [
        (item.checkpoint, item.state, answer)
        for item, answer in zip(issued, answers, strict=True)
        if isinstance(answer, Refused)
    ]
    if refused:
        refuse_children(connection, refused, now)
    return Followups(
        new_runs=tuple(answer.run_id for answer in answers if isinstance(answer, Accepted))
    )


def _respond(connection: Connection, issued: Sequence[Issued]) -> Followups:
    keep_responses(connection, [(item.checkpoint.run_id, item.data) for item in issued])
    return Followups()


def _spend(connection: Connection, issued: Sequence[Issued]) -> Followups:
    book_of(connection.engine).budgets.write(
        connection, [(spender_of(item), item.data) for item in issued]
    )
    return Followups()


def spender_of(item: Issued) -> Spender:
    """Return the attempt that gave a command."""
    facts = item.checkpoint.facts
    return Spender(
        item.checkpoint.run_id,
        item.state.path,
        item.state.attempt,
        facts.owner_id,
        facts.workflow_id,
    )


CARRIERS: Final[Mapping[CommandKind, Carrier]] = {
    "evidence": _keep_evidence,
    "event": _emit,
    "run": _start_runs,
    "response": _respond,
    "spend": _spend,
}
"""What carries out each kind of command."""
OBEYED: Final = frozenset({AttemptStatus.SUCCEEDED, AttemptStatus.WAITING})
"""What a failed attempt asked for is not done: the next attempt will ask again."""
RECORDED: Final[frozenset[CommandKind]] = frozenset({"evidence", "spend"})
"""Does nothing to the world: it tells what happened, also in an attempt that failed."""


def carry_out(connection: Connection, batch: Sequence[Checkpoint]) -> Followups:
    """Carry out what the attempts of these checkpoints ask for; returns what is to follow."""
    issued: dict[CommandKind, list[Issued]] = {}
    for checkpoint in batch:
        for state in checkpoint.states:
            brought = checkpoint.brought.get(state.path)
            if brought is None or not brought.commands:
                continue
            for command in brought.commands:
                if _counts(command.kind, state):
                    issued.setdefault(command.kind, []).append(
                        Issued(checkpoint, state, command.data)
                    )
    followups = Followups()
    for kind, commands in issued.items():
        followups += CARRIERS[kind](connection, commands)
    return followups


def _counts(kind: CommandKind, state: StepState) -> bool:
    """Tell whether a command is carried out; the next attempt may begin in the commit that ends the one it comes from."""
    if state.status in OBEYED:
        return True
    return kind in RECORDED and state.status is not AttemptStatus.RUNNING
