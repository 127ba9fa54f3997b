"""Register, log in, and end sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm

from app.api.body import GuardedRoute
from app.api.container import Container
from app.api.deps import CurrentCaller, Services, address_of, needs
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.errors import PermissionDenied
from app.core.json_guard import check_json
from app.core.permissions import Scope
from app.core.security.tokens import issue_token
from app.models import User
from app.schemas.auth import AccessToken, PasswordChange, Registration, UserForm, login_name
from app.services import users
from app.services.audit import visitor
from app.services.throttle import REGISTRATIONS

router = APIRouter(tags=["Account"], route_class=GuardedRoute)


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    responses=problems(403, 409, 429, *BODY_PROBLEMS),
)
def register(form: Registration, request: Request, container: Services) -> UserForm:
    """Make an account to log in with. The first one becomes `admin`, later ones `member`.

    The operator can close registration (403); accounts are then made with `python3 main.py user create`.
    More than sixty attempts in a minute from one address are answered with 429.
    """
    if container.settings.registration == "closed":
        raise PermissionDenied("Registration is closed: ask the operator for an account.")
    address = address_of(request)
    container.throttle.count(REGISTRATIONS, address)
    now, by = container.clock.now(), visitor(form.email, address)
    user = users.register(container.engine, form.email, form.password, now, by=by)
    return _form_of(user)


@router.post(
    "/login",
    summary="Get an access token",
    responses=problems(401, 429, *BODY_PROBLEMS),
)
def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, container: Services
) -> AccessToken:
    """Send `username` (the e-mail address) and `password` as a form; the token goes along as `Authorization: Bearer …`.

    Five failures in a minute for one account, or twenty from one address, are answered with 429.
    """
    check_json([form.username, form.password])
    user = users.log_in(
        container.engine,
        container.throttle,
        login_name(form.username),
        form.password,
        address_of(request),
    )
    return _token_for(container, user)


@router.get(
    "/me", dependencies=[needs(Scope.ACCOUNT_READ)], summary="Who am I?", responses=problems(401)
)
def me(caller: CurrentCaller, container: Services) -> UserForm:
    """Return the account that the token stands for."""
    return _form_of(users.account(container.engine, caller.id))


@router.post(
    "/me/password",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    summary="Change my password",
    responses=problems(401, 409, 429, *BODY_PROBLEMS),
)
def change_password(
    form: PasswordChange, caller: CurrentCaller, container: Services
) -> AccessToken:
    """Set another password. All older tokens end; the answer holds a new one.

    Five wrong passwords in a minute are answered with 429.
    """
    user = users.account(container.engine, caller.id)
    changed = users.change_password(
        container.engine,
        container.throttle,
        user,
        form.current_password,
        form.new_password,
        caller,
    )
    return _token_for(container, changed)


@router.post(
    "/me/sessions/revoke",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    summary="End all my sessions",
    responses=problems(401, 409),
)
def revoke_sessions(caller: CurrentCaller, container: Services) -> AccessToken:
    """End all older tokens, wherever they are; the answer holds a new one."""
    user = users.account(container.engine, caller.id)
    return _token_for(container, users.revoke_sessions(container.engine, user, caller))


def _address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _form_of(user: User) -> UserForm:
    return UserForm(id=user.id, email=user.email, role=user.role, created_at=user.created_at)


def _token_for(container: Container, user: User) -> AccessToken:
    minutes = container.settings.access_token_minutes
    token = issue_token(container.key, user.id, user.token_version, container.clock.now(), minutes)
    return AccessToken(access_token=token, expires_in=minutes * 60)
