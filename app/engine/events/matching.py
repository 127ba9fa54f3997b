"""Which waits an event ends, and which workflows it starts. Pure: values in, decisions out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.errors import ExpressionError
from app.engine.language.deferred import evaluate_deferred
from app.engine.language.expressions import compile_expression
from app.engine.planning.record import rfc3339

WaitKey = tuple[str, str, int]
"""Run, path and attempt."""
Place = tuple[str, str, str | None]
"""Owner, type and correlation id."""
MAX_FILTER_STEPS = 2_000
"""How much work a filter may be: others wait for it."""
NAMED = "id:"
"""Stands before an id that the publisher gave, in the column that is unique for each owner."""
KEYED = "key:"
"""Stands before an Idempotency-Key there."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is stored. `fresh`: nobody has looked yet which waits it ends.

    `published_by` is the e-mail address of the person behind it, known only while it is being published.
    """

    row_id: str
    owner_id: str
    type: str
    correlation_id: str | None
    payload: Any
    received_at: datetime
    named: str | None = None
    depth: int = 0
    fresh: bool = True
    published_by: str | None = None

    @property
    def id(self) -> str:
        """Return the id that people see: the publisher's own, or else the row's."""
        return public_id(self.row_id, self.named)

    @property
    def order(self) -> tuple[datetime, str]:
        """Return its place among others: the oldest comes first."""
        return self.received_at, self.row_id

    @property
    def shown(self) -> dict[str, Any]:
        """Return it as expressions and later steps see it."""
        return {
            "id": self.id,
            "type": self.type,
            "correlation_id": self.correlation_id,
            "payload": self.payload,
            "received_at": rfc3339(self.received_at),
        }


@dataclass(frozen=True, slots=True)
class EventWait:
    """A step that waits for an event; `filter` is a deferred expression on `event`."""

    key: WaitKey
    owner_id: str
    event_type: str
    correlation_id: str | None
    filter: Mapping[str, Any] | None
    created_at: datetime

    @property
    def place(self) -> Place:
        """Return where events for it are to be found."""
        return self.owner_id, self.event_type, self.correlation_id

    @property
    def key_row(self) -> dict[str, Any]:
        """Return its key as a row of a statement."""
        return dict(zip(("run_id", "path", "attempt"), self.key, strict=True))


@dataclass(frozen=True, slots=True)
class FilterFault:
    """A wait's filter that could not be evaluated on an event: it counts as no match."""

    wait: EventWait
    event: Event
    message: str


Candidates = Mapping[str, Sequence[EventWait]]
"""By the row id of an event: the waits that it could end."""


def public_id(row_id: str, named: str | None) -> str:
    """Return the id of an event that people see."""
    return named.removeprefix(NAMED) if named and named.startswith(NAMED) else row_id


def find_candidates(
    events: Iterable[Event], waits: Iterable[EventWait], complain: Callable[[FilterFault], None]
) -> dict[str, list[EventWait]]:
    """Return the waits that each event fits: owner, type, correlation and filter. Those that fit none are left out."""
    by_place: dict[Place, list[EventWait]] = {}
    for wait in sorted(waits, key=lambda wait: (wait.created_at, wait.key)):
        by_place.setdefault(wait.place, []).append(wait)
    found: dict[str, list[EventWait]] = {}
    for event in events:
        fitting = by_place.get((event.owner_id, event.type, None), [])
        if event.correlation_id is not None:
            fitting = fitting + by_place.get((event.owner_id, event.type, event.correlation_id), [])
        local = {"event": event.shown}
        passing = [wait for wait in fitting if _passes(wait, event, local, complain)]
        if passing:
            found[event.row_id] = passing
    return found


def assign(
    events: Sequence[Event], candidates: Candidates, open_waits: frozenset[WaitKey]
) -> dict[str, list[EventWait]]:
    """Return which open waits each event ends, by its row id; the oldest event chooses first.

    A fresh event ends all that it can. One that was kept ends the first one only.
    """
    left = set(open_waits)
    assigned: dict[str, list[EventWait]] = {}
    for event in sorted(events, key=lambda event: event.order):
        waits = [wait for wait in candidates.get(event.row_id, ()) if wait.key in left]
        if not waits:
            continue
        ended = waits if event.fresh else waits[:1]
        left -= {wait.key for wait in ended}
        assigned[event.row_id] = ended
    return assigned


def starts(event: Event, event_filter: str | None) -> bool:
    """Tell whether an event passes the filter of a workflow that it may start.

    Raises:
        ExpressionError: the filter cannot be evaluated on it.
    """
    if event_filter is None:
        return True
    expression = compile_expression(event_filter)
    return expression.evaluate({"event": event.shown}, MAX_FILTER_STEPS) is True


def _passes(
    wait: EventWait,
    event: Event,
    local: Mapping[str, Any],
    complain: Callable[[FilterFault], None],
) -> bool:
    if wait.filter is None:
        return True
    try:
        verdict = evaluate_deferred(wait.filter, local, MAX_FILTER_STEPS)
    except ExpressionError as fault:
        complain(FilterFault(wait, event, fault.detail))
        return False
    if not isinstance(verdict, bool):
        complain(FilterFault(wait, event, "it is neither true nor false: compare something"))
    return verdict is True
