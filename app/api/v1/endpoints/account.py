"""Register, log in, and change the password."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm

from app.api.body import GuardedRoute
from app.api.deps import CurrentCaller, Services, address_of, needs
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.sign_in import tokens_of, visit_of
from app.core.errors import PermissionDenied
from app.core.json_guard import check_json
from app.core.permissions import Scope
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
    """Make an account to log in with. The first one becomes `admin`, later ones `member`, invited ones what they were invited as.

    The operator can close registration (403): then an invitation is needed, or `python3 main.py user create`.
    More than sixty attempts in a minute from one address are answered with 429.
    """
    if container.settings.registration == "closed" and form.invitation is None:
        raise PermissionDenied(
            "Registration is closed: ask an administrator for an invitation, and send its token as `invitation`."
        )
    container.throttle.count(REGISTRATIONS, address_of(request))
    account = users.NewAccount(form.email, form.password, invitation=form.invitation)
    user = users.register(
        container.engine, account, container.clock.now(), visitor(form.email, address_of(request))
    )
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
    signed_in = users.log_in(
        container.engine,
        container.throttle,
        login_name(form.username),
        form.password,
        visit_of(request, container),
    )
    return tokens_of(container, signed_in)


@router.get(
    "/me", dependencies=[needs(Scope.ACCOUNT_READ)], summary="Who am I?", responses=problems(401)
)
def me(caller: CurrentCaller, container: Services) -> UserForm:
    """Return the account that the token, or API key, stands for."""
    return _form_of(users.account(container.engine, caller.id))


@router.post(
    "/me/password",
    dependencies=[needs(Scope.ACCOUNT_WRITE)],
    summary="Change my password",
    responses=problems(401, 403, 409, 429, *BODY_PROBLEMS),
)
def change_password(
    form: PasswordChange, caller: CurrentCaller, request: Request, container: Services
) -> AccessToken:
    """Set another password. All sessions and older tokens end; the answer holds new ones. API keys stay.

    Five wrong passwords in a minute are answered with 429. An API key may not do this (403).
    """
    caller.require_login()
    swap = users.PasswordSwap(form.current_password, form.new_password)
    visit = visit_of(request, container)
    signed_in = users.change_password(container.engine, container.throttle, caller, swap, visit)
    return tokens_of(container, signed_in)


def _form_of(user: User) -> UserForm:
    return UserForm(id=user.id, email=user.email, role=user.role, created_at=user.created_at)
