"""For operators: stop things at once, and let them go on."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    Limit,
    OpenSession,
    Services,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.core.statuses import SwitchMode
from app.schemas.common import Page
from app.schemas.kill_switch import MAX_REASON, GlobalSwitchForm, KillSwitchDraft, KillSwitchForm
from app.services.kill_switches import KillSwitches
from app.services.pages import DEFAULT_LIMIT

router = APIRouter(prefix="/admin", tags=["Operators"], route_class=GuardedRoute)


async def get_switches(
    container: Services, caller: CurrentCaller, session: OpenSession
) -> KillSwitches:
    """Return what the caller may do to kill switches."""
    return KillSwitches(session, caller, container.catalogue)


async def switch_id_in_path(switch_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(switch_id, "kill switch")


Switches = Annotated[KillSwitches, Depends(get_switches)]
SwitchId = Annotated[str, Depends(switch_id_in_path)]


@router.get(
    "/kill-switches",
    dependencies=[needs(Scope.OPERATIONS_READ)],
    summary="List kill switches",
    responses=problems(401, 403, 422),
)
def list_switches(
    switches: Switches,
    active: Annotated[
        bool, Query(description="Leave out those that stop nothing any more.")
    ] = False,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[KillSwitchForm]:
    """Return the kill switches that are set, and those that were, newest first."""
    found, next_cursor = switches.list(active=active, limit=limit, cursor=cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.post(
    "/kill-switches",
    dependencies=[needs(Scope.SWITCHES_WRITE)],
    status_code=201,
    summary="Set a kill switch",
    responses=problems(401, 403, *BODY_PROBLEMS),
)
def set_switch(draft: KillSwitchDraft, switches: Switches, response: Response) -> KillSwitchForm:
    """Stop something: new triggers from this answer on, workers within a second. What is stopped waits, and nothing is lost.

    Triggers are answered `503` with the reason and `Retry-After`, and nothing of them is stored. Runs that are stopped are
    `paused`; their `waiting_for` says why. They go on by themselves, with no step redone, once the switch is lifted.
    """
    switch = switches.set(draft)
    response.headers["Location"] = f"/api/v1/admin/kill-switches/{switch.id}"
    return switch


@router.get(
    "/kill-switches/{switch_id}",
    dependencies=[needs(Scope.OPERATIONS_READ)],
    summary="Read a kill switch",
    responses=problems(401, 403, 404),
)
def read_switch(switch_id: SwitchId, switches: Switches) -> KillSwitchForm:
    """Return a kill switch: who has set it, when and why, and who has lifted it."""
    return switches.get(switch_id)


@router.delete(
    "/kill-switches/{switch_id}",
    dependencies=[needs(Scope.SWITCHES_WRITE)],
    summary="Lift a kill switch",
    responses=problems(401, 403, 404),
)
def lift_switch(switch_id: SwitchId, switches: Switches) -> KillSwitchForm:
    """Let go on what it has stopped; it stays in the list, as history. One that is lifted already stays as it is."""
    return switches.lift(switch_id)


@router.post(
    "/kill_switch",
    dependencies=[needs(Scope.SWITCHES_WRITE)],
    summary="Stop everything, or let it go on",
    responses=problems(401, 403, 422),
)
def switch_all(
    switches: Switches,
    enabled: Annotated[bool, Query(description="`true` stops, `false` lifts.")],
    mode: Annotated[SwitchMode, Query()] = SwitchMode.HALT,
    reason: Annotated[str | None, Query(max_length=MAX_REASON)] = None,
) -> GlobalSwitchForm:
    """Set or lift the global kill switch: one call for runbooks, which may be repeated."""
    found = switches.set_all(mode, reason) if enabled else switches.lift_all()
    return GlobalSwitchForm(enabled=bool(found), kill_switches=list(found))
