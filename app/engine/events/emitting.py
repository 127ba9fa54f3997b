"""Events that runs emit: published in the commit of the step's result, so exactly once."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.core.ids import parse_id
from app.engine import store
from app.engine.attempt.context import cut
from app.engine.checkpoint import Checkpoint
from app.engine.events.faults import LINE_OF_THE_ENGINE
from app.engine.events.matching import Event
from app.engine.events.publishing import publish
from app.engine.events.starting import Refusal
from app.engine.followups import Followups
from app.engine.planning.record import StepState

Emission = tuple[Checkpoint, StepState, Mapping[str, Any]]
"""Who emits, at which attempt, and what the command holds: `id`, `type`, `correlation_id`, `payload`."""


def emit(connection: Connection, emissions: Sequence[Emission]) -> Followups:
    """Publish what attempts have emitted, in the transaction of their checkpoints.

    A checkpoint that is written twice publishes once: the event's id is part of the command.
    """
    valid = [emission for emission in emissions if parse_id(emission[2]["id"])]
    if not valid:
        return Followups()
    events = [_event(*emission) for emission in valid]
    published = publish(connection, events, max(event.received_at for event in events))
    refused = [
        (checkpoint, state, event, refusal)
        for (checkpoint, state, _), event, one in zip(valid, events, published, strict=True)
        for refusal in one.refused
    ]
    if refused:
        lines = [_line(*found, number) for number, found in enumerate(refused)]
        store.INSERT_LOGS.run(connection, lines)
    return Followups(
        new_runs=tuple(run_id for one in published for run_id in one.started),
        published=tuple(one.row_id for one in published if not one.duplicate),
    )


def _event(checkpoint: Checkpoint, state: StepState, data: Mapping[str, Any]) -> Event:
    at = state.finished_at or state.started_at
    assert at is not None  # noqa: S101 - an attempt that ended, or waits, has begun
    facts = checkpoint.facts
    return Event(
        row_id=data["id"],
        owner_id=facts.owner_id,
        type=data["type"],
        correlation_id=data["correlation_id"],
        payload=data["payload"],
        received_at=at,
        depth=facts.depth + 1,
        published_by=facts.started_by,
    )


def _line(
    checkpoint: Checkpoint, state: StepState, event: Event, refusal: Refusal, number: int
) -> dict[str, Any]:
    message = (
        f"The event {event.type!r} did not start workflow {refusal.workflow_id}: {refusal.detail}"
    )
    return {
        "run_id": checkpoint.run_id,
        "path": state.path,
        "attempt": state.attempt,
        "line": LINE_OF_THE_ENGINE + number,
        "level": "error",
        "message": cut(message),
        "data": {"event_id": event.id, "depth": event.depth, "code": refusal.code},
        "at": event.received_at,
    }
