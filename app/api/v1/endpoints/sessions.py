"""Stay signed in, see where I am signed in, and log out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    Limit,
    OpenSession,
    Services,
    address_of,
    bearer,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.sign_in import tokens_of, visit_of
from app.api.turns import DatabaseTurn
from app.core.errors import NotAuthenticated
from app.core.permissions import Scope
from app.core.security.tokens import read_token
from app.db.session import transaction
from app.models import UserSession
from app.schemas.auth import AccessToken, LogoutRequest, RefreshRequest, SessionForm
from app.schemas.common import Page
from app.services import sessions, users
from app.services.pages import DEFAULT_LIMIT
from app.services.throttle import REFRESHES

router = APIRouter(tags=["Account"], route_class=GuardedRoute)


async def session_id_in_path(session_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(session_id, "session")


@router.post(
    "/token/refresh",
    summary="Get the next access token",
    responses=problems(401, 429, *BODY_PROBLEMS),
)
def refresh_token(
    form: RefreshRequest, request: Request, container: Services, _: DatabaseTurn
) -> AccessToken:
    """Send the newest `refresh_token`; the answer holds an access token and the refresh token to send next time.

    Each refresh token counts once. One that comes again was stolen: the whole session ends, for everybody who has tokens of it.
    More than sixty requests in a minute from one address are answered with 429.
    """
    container.throttle.count(REFRESHES, address_of(request))
    visit = visit_of(request, container)
    return tokens_of(container, sessions.refresh(container.engine, form.refresh_token, visit))


@router.post(
    "/logout",
    status_code=204,
    summary="Log out",
    responses=problems(401, 429, *BODY_PROBLEMS),
)
def log_out(
    request: Request,
    container: Services,
    token: Annotated[str | None, Depends(bearer)],
    _: DatabaseTurn,
    form: LogoutRequest | None = None,
) -> None:
    """End the session of the `refresh_token`, or of the access token: neither counts any more.

    With a refresh token, no access token is needed: it may have expired.
    """
    address = address_of(request)
    if form is not None and form.refresh_token is not None:
        container.throttle.count(REFRESHES, address)
        sessions.log_out(container.engine, form.refresh_token, address)
        return
    if token is None:
        raise NotAuthenticated
    now = container.clock.now()
    caller = container.callers.find(read_token(container.key, token, now), now, address)
    if caller.session_id is not None:
        with transaction(container.engine) as session:
            sessions.end_session(session, caller, caller.session_id)


@router.get(
    "/me/sessions",
    dependencies=[needs(Scope.ACCOUNT_READ)],
    summary="Where am I signed in?",
    responses=problems(401, 422),
)
def list_sessions(
    caller: CurrentCaller,
    session: OpenSession,
    container: Services,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[SessionForm]:
    """Return my open sessions, newest first."""
    now = container.clock.now()
    found, next_cursor = sessions.list_sessions(session, caller, now, limit, cursor)
    forms = [_form_of(one, one.id == caller.session_id) for one in found]
    return Page(items=forms, next_cursor=next_cursor)


@router.delete(
    "/me/sessions/{session_id}",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    status_code=204,
    summary="End one of my sessions",
    responses=problems(401, 404),
)
def end_session(
    session_id: Annotated[str, Depends(session_id_in_path)],
    caller: CurrentCaller,
    session: OpenSession,
) -> None:
    """End a session: its refresh token and its access tokens count no more, at once."""
    sessions.end_session(session, caller, session_id)


@router.post(
    "/me/sessions/revoke",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    summary="End all my sessions",
    responses=problems(401, 403, 409),
)
def revoke_sessions(caller: CurrentCaller, request: Request, container: Services) -> AccessToken:
    """End all sessions and older tokens, wherever they are; the answer holds new ones. API keys stay: delete them one by one.

    An API key may not do this (403).
    """
    caller.require_login()
    visit = visit_of(request, container)
    return tokens_of(container, users.revoke_sessions(container.engine, caller, visit))


def _form_of(found: UserSession, current: bool) -> SessionForm:
    return SessionForm(**found.model_dump(exclude={"user_id", "token_version"}), current=current)
