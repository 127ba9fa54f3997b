"""Publish events, and see them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    CurrentProof,
    Cursor,
    IdempotencyKey,
    Limit,
    Services,
    TenantSession,
    needs,
    needs_at_desk,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.v1.webhook_openapi import IDEMPOTENCY_KEY
from app.core.permissions import Scope
from app.engine.egress.run_depth import RUN_DEPTH_HEADER, told_depth
from app.schemas.common import Page
from app.schemas.event import EventDraft, EventForm, EventReceipt
from app.services.events import EventFilter, EventRequest, Events
from app.services.pages import DEFAULT_LIMIT

router = APIRouter(prefix="/events", tags=["Events"], route_class=GuardedRoute)
REPEATED = {
    "model": EventReceipt,
    "description": "Seen before: an event with this id, or Idempotency-Key, is stored already.",
}
Draft = Annotated[
    EventDraft,
    Body(
        openapi_examples={
            "payment": {
                "summary": "A payment has come in",
                "value": {
                    "type": "payment.received",
                    "correlation_id": "A-1001",
                    "payload": {"amount": 42},
                    "id": "pay_123",
                },
            }
        }
    ),
]


async def get_events(caller: CurrentCaller, session: TenantSession) -> Events:
    """Return what the caller may read of their events."""
    return Events(session, caller)


async def event_filter(
    type: Annotated[str | None, Query(description="Only events of this type.")] = None,  # noqa: A002 - the parameter's name
    correlation_id: Annotated[
        str | None, Query(description="Only events with this correlation id.")
    ] = None,
    team: Annotated[
        str | None, Query(description="Events of this team (id or name) instead of mine.")
    ] = None,
) -> EventFilter:
    """Return which events the caller wants."""
    return EventFilter(type, correlation_id, team)


@router.post(
    "",
    dependencies=[needs_at_desk(Scope.EVENTS_WRITE)],
    status_code=202,
    summary="Publish an event",
    openapi_extra={"parameters": [{**IDEMPOTENCY_KEY, "description": "Same key, same event."}]},
    responses={200: REPEATED, **problems(401, 403, 404, *BODY_PROBLEMS)},
)
async def publish_event(
    draft: Draft,
    proof: CurrentProof,
    key: IdempotencyKey,
    container: Services,
    request: Request,
    response: Response,
) -> EventReceipt:
    """Publish an event: it resumes each of my runs that waits for it, and starts my workflows that begin with it (`on_event`).

    One that no run waits for is kept for `EVENT_TTL_SECONDS` (a day), for the first `wait_for_event` step that it fits. An
    `id` is accepted once: sent again, also with the same `Idempotency-Key` instead, it answers 200 and changes nothing.
    """
    depth = told_depth(request.headers.get(RUN_DEPTH_HEADER))
    event = EventRequest(proof, **draft.model_dump(), idempotency_key=key, depth=depth)
    answer = await container.events.submit(event)
    response.status_code = 200 if answer.duplicate else 202
    return EventReceipt.model_validate(asdict(answer))


@router.get(
    "",
    dependencies=[needs(Scope.EVENTS_READ)],
    summary="List my events",
    responses=problems(401, 404, 422),
)
def list_events(
    events: Annotated[Events, Depends(get_events)],
    wanted: Annotated[EventFilter, Depends(event_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[EventForm]:
    """Return my events that are remembered, or a team's, newest first, also those that runs emitted."""
    found, next_cursor = events.list(wanted, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)
