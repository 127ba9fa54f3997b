"""Take events from outside: stored, then matched, many in one commit; and show them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.clock import SyncedClock
from app.core.errors import AutomateError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.core.permissions import Scope, TeamRole
from app.db.group_commit import GroupCommit
from app.engine.delivery.dispatch import BackgroundDispatch
from app.engine.events.matcher import Matcher
from app.engine.events.matching import KEYED, NAMED, Event, public_id
from app.engine.events.publishing import Published, publish
from app.engine.events.starting import Refusal
from app.engine.metrics.meters import ApiMeters
from app.models import Event as EventRow
from app.schemas.event import EventForm
from app.services.access import require_team
from app.services.authentication import Callers, Proof, refusal_of
from app.services.callers import Caller
from app.services.database_time import DatabaseTime
from app.services.desk_roles import publishing_teams
from app.services.idempotency_keys import require_usable
from app.services.pages import newest_first

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventRequest:
    """What a caller publishes, as their own or a team's. `id`, or else the `Idempotency-Key`, is accepted once from each owner."""

    caller: Proof
    type: str
    correlation_id: str | None = None
    payload: Any = None
    id: str | None = None
    team: str | None = None
    idempotency_key: str | None = None
    depth: int = 0
    """How many runs have started each other up to this call, as it tells itself."""
    row_id: str = field(default_factory=new_id)

    @property
    def named(self) -> str | None:
        """Return what makes a repeated event the same one."""
        if self.id is not None:
            return NAMED + self.id
        return None if self.idempotency_key is None else KEYED + self.idempotency_key


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What became of an event: how many waits it has ended, which runs it has started, and which it must not, so far."""

    id: str
    duplicate: bool
    woken: int = 0
    started: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class _Taken:
    answer: EventAnswer
    run_ids: tuple[str, ...] = ()


class EventDesk:
    """Takes events; answers each once it is committed, and matched with the waits that were open then.

    Lives on the event loop.
    """

    def __init__(
        self,
        engine: Engine,
        clock: SyncedClock,
        dispatch: BackgroundDispatch,
        ttl_seconds: float,
        meters: ApiMeters,
    ) -> None:
        self._engine = engine
        self._time = DatabaseTime(clock)
        self._dispatch = dispatch
        self._callers = Callers(engine)
        self._matcher = Matcher(engine, clock, ttl_seconds)
        self._commits: GroupCommit[EventRequest, _Taken] = GroupCommit(
            self._flush, name="events", observe=meters.batches_of("events")
        )

    async def submit(self, request: EventRequest) -> EventAnswer:
        """Return what became of an event.

        Raises:
            NotAuthenticated: the access token, or API key, no longer holds.
            PermissionDenied: the role, or the key, may not publish events, or not as this team's.
            NotFound: they are not in this team.
            InvalidInput: the Idempotency-Key cannot be used.
            Unavailable: the database does not answer; repeat with the same id, or the same Idempotency-Key.
        """
        if request.idempotency_key is not None:
            require_usable(request.idempotency_key)
        taken = await self._commits.submit(request)
        for run_id in taken.run_ids:
            self._dispatch.put(run_id)
        return taken.answer

    async def close(self) -> None:
        """Commit what is pending and stop."""
        await self._commits.close()
        await asyncio.to_thread(self._callers.close)

    def _flush(self, batch: Sequence[EventRequest]) -> Sequence[_Taken | Exception]:
        with self._engine.begin() as connection:
            now = self._time.now(connection)
            callers = self._callers.load(connection, [request.caller for request in batch], now)
            owners = _owners(connection, batch, callers)
            admitted = [one for one in batch if isinstance(owners[one.row_id], str)]
            events = [
                _event(one, str(owners[one.row_id]), callers[one.caller].email, now)
                for one in admitted
            ]
            published = publish(connection, events, now)
        new = [one.row_id for one in published if not one.duplicate]
        woken, run_ids = self._match(new) if new else ({}, ())
        # The runs that were woken are handed on with the first answer: which event has woken which is not told apart.
        taken = {
            request.row_id: _taken(request, one, woken.get(one.row_id, 0))
            for request, one in zip(admitted, published, strict=True)
        }
        if run_ids:
            first = new[0]
            taken[first] = _Taken(taken[first].answer, (*taken[first].run_ids, *run_ids))
        return [taken.get(one.row_id) or _refusal(owners[one.row_id]) for one in batch]

    def _match(self, event_ids: Sequence[str]) -> tuple[Mapping[str, int], Sequence[str]]:
        """Match events that are committed: whatever goes wrong here, they are stored, and a worker's duty matches them."""
        try:
            return self._matcher.take(event_ids)
        except Exception as error:
            log.exception("events_not_matched", error=type(error).__name__)
            return {}, ()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list: a team's, or else the caller's own; None leaves a field open."""

    type: str | None = None
    correlation_id: str | None = None
    team: str | None = None

    def narrow(self, query: SelectOfScalar[EventRow]) -> SelectOfScalar[EventRow]:
        """Return the query with the conditions that are no matter of rights."""
        if self.type is not None:
            query = query.where(col(EventRow.type) == self.type)
        if self.correlation_id is not None:
            query = query.where(col(EventRow.correlation_id) == self.correlation_id)
        return query


@dataclass(frozen=True, slots=True)
class Events:
    """What a user may read of their events, and of their teams'."""

    session: Session
    caller: Caller

    def list(
        self, wanted: EventFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[EventForm], str | None]:
        """Return a page of the events that are remembered, newest first, and the next page's cursor.

        Raises:
            NotFound: there is no such team, or the user is not in it.
        """
        owner_id = self.caller.id
        if wanted.team is not None:
            owner_id = require_team(self.session, self.caller, wanted.team, TeamRole.VIEWER).id
        query = wanted.narrow(select(EventRow).where(EventRow.owner_id == owner_id))
        rows, next_cursor = newest_first(self.session, query, EventRow.id, limit, cursor)
        return [_form(row) for row in rows], next_cursor


def _form(row: EventRow) -> EventForm:
    return EventForm(
        id=public_id(row.id, row.event_id),
        type=row.type,
        correlation_id=row.correlation_id,
        payload=row.payload,
        received_at=row.received_at,
        expires_at=row.expires_at,
        consumed_at=row.consumed_at,
        woken=row.woken,
    )


def _owners(
    connection: Connection, batch: Sequence[EventRequest], callers: Mapping[Proof, Caller]
) -> Mapping[str, str | AutomateError]:
    """Return whose each event is to be, or why it must not."""
    asks = {
        (callers[one.caller].id, one.team)
        for one in batch
        if one.team is not None and one.caller in callers
    }
    teams = publishing_teams(connection, asks)
    return {one.row_id: _owner(one, callers.get(one.caller), teams) for one in batch}


def _owner(
    request: EventRequest,
    caller: Caller | None,
    teams: Mapping[tuple[str, str], str | AutomateError],
) -> str | AutomateError:
    if caller is None:
        return refusal_of(request.caller)
    if Scope.EVENTS_WRITE not in caller.scopes:
        return caller.refusal(Scope.EVENTS_WRITE)
    return caller.id if request.team is None else teams[caller.id, request.team]


def _refusal(owner: str | AutomateError) -> AutomateError:
    assert isinstance(owner, AutomateError)  # noqa: S101 - what has an owner was admitted
    return owner


def _event(request: EventRequest, owner_id: str, email: str, now: datetime) -> Event:
    return Event(
        row_id=request.row_id,
        owner_id=owner_id,
        type=request.type,
        correlation_id=request.correlation_id,
        payload=request.payload,
        received_at=now,
        named=request.named,
        depth=request.depth,
        published_by=email,
    )


def _taken(request: EventRequest, published: Published, woken: int) -> _Taken:
    shown = public_id(published.row_id, request.named)
    answer = EventAnswer(shown, published.duplicate, woken, published.started, published.refused)
    return _Taken(answer, published.started)
