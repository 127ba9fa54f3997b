"""Start the workflows that wait for the type of an event, in the transaction that stores it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.core.errors import ExpressionError
from app.core.logging import get_logger
from app.core.statuses import TriggerKind
from app.engine.events import store
from app.engine.events.matching import Event, starts
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.guards.store import read_switches
from app.engine.guards.switches import KillSwitch, stopping_new
from app.engine.intake import NewRun, Refused, accept

MAX_EVENT_DEPTH = 10
"""How many runs deep events may start each other; beyond that it is taken for a loop without an end."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event does not start a workflow that waits for its type; to be told to whoever published it."""

    workflow_id: str
    code: str
    detail: str


@dataclass(slots=True)
class Starts:
    """What an event has started, by the ids of the runs, and what it has not."""

    run_ids: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def start(connection: Connection, events: Sequence[Event], now: datetime) -> dict[str, Starts]:
    """Start a run of each workflow that an event triggers; returns what became of each event, by its row id."""
    triggered = _triggered(connection, events)
    switches = read_switches(connection) if triggered else ()
    found = {event.row_id: Starts() for event in events}
    pairs: list[tuple[Event, NewRun]] = []
    for event in events:
        for workflow in triggered.get((event.owner_id, event.type), ()):
            answer = _admit(
                event, workflow, stopping_new(switches, event.owner_id, workflow.id, now)
            )
            if isinstance(answer, NewRun):
                pairs.append((event, answer))
            elif answer is not None:
                log.warning(
                    "event_refused",
                    event_id=event.row_id,
                    workflow_id=workflow.id,
                    reason=answer.code,
                )
                found[event.row_id].refused.append(answer)
    accepted = accept(connection, [run for _, run in pairs], now) if pairs else ()
    for (event, new), made in zip(pairs, accepted, strict=True):
        told = found[event.row_id]
        if isinstance(made, Refused):
            told.refused.append(Refusal(new.workflow_id, made.code, made.detail))
        else:
            told.run_ids.append(made.run_id)
    return found


def _triggered(
    connection: Connection, events: Sequence[Event]
) -> Mapping[tuple[str, str], Sequence[Row[Any]]]:
    places = sorted({(event.owner_id, event.type) for event in events})
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    if places:
        rows = [{"owner_id": owner_id, "type": type_} for owner_id, type_ in places]
        for row in store.FIND_TRIGGERED.run(connection, rows):
            found.setdefault((row.owner_id, row.event_type), []).append(row)
    return found


def _admit(event: Event, workflow: Row[Any], switch: KillSwitch | None) -> NewRun | Refusal | None:
    """Return the run that an event starts, why it must not, or None when the filter does not want it."""
    try:
        if not starts(event, workflow.event_filter):
            return None
    except ExpressionError as fault:
        detail = f"The filter of `on_event` could not be evaluated: {fault.detail}"
        return Refusal(workflow.id, "filter_failed", detail)
    if switch is not None:
        return Refusal(workflow.id, switch.held.code, switch.held.reason)
    if event.depth > MAX_EVENT_DEPTH:
        detail = (
            f"Runs and events have started each other {MAX_EVENT_DEPTH} times in a row, which looks like a loop without "
            "an end. Give the workflow's `on_event` a filter."
        )
        return Refusal(workflow.id, "event_loop", detail)
    context = merged_context(workflow.context_required, None)
    missing = missing_fields(workflow.context_required, context)
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        detail = f"The workflow requires {names}, which an event cannot give: set its `context.defaults`."
        return Refusal(workflow.id, "missing_context", detail)
    return _run(event, workflow, context)


def _run(event: Event, workflow: Row[Any], context: Mapping[str, Any] | None) -> NewRun:
    return NewRun(
        owner_id=event.owner_id,
        workflow_id=workflow.id,
        version_id=workflow.version_id,
        version=workflow.version,
        trigger=TriggerKind.EVENT,
        input=event.shown,
        idempotency_key=f"event:{event.row_id}",
        context=context,
        depth=event.depth,
        started_by=event.published_by,
    )
