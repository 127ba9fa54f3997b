"""Register, log in, and change the password."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordRequestForm

from app.api.body import GuardedRoute
from app.api.deps import CurrentCaller, Services, address_of, needs
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.sign_in import tokens_of, visit_of
from app.api.turns import DatabaseTurn
from app.core.errors import PermissionDenied
from app.core.json_guard import check_json
from app.core.permissions import Scope
from app.core.security.passwords import hash_password
from app.models import User
from app.schemas.auth import AccessToken, PasswordChange, Registration, UserForm, login_name
from app.services import users
from app.services.audit import visitor
from app.services.throttle import PASSWORD_CHANGES, REGISTRATIONS

router = APIRouter(tags=["Account"], route_class=GuardedRoute)


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    responses=problems(403, 409, 429, *BODY_PROBLEMS),
)
async def register(
    form: Registration, request: Request, container: Services, turn: DatabaseTurn
) -> UserForm:
    """Make an account to log in with. The first one becomes `admin`, later ones `member`, invited ones what they were invited as.

    The operator can close registration (403): then an invitation is needed, or `python3 main.py user create`.
    More than sixty attempts in a minute from one address are answered with 429.
    """
    if container.settings.registration == "closed" and form.invitation is None:
        raise PermissionDenied(
            "Registration is closed: ask an administrator for an invitation, and send its token as `invitation`."
        )
    address = address_of(request)
    await run_in_threadpool(container.throttle.count, REGISTRATIONS, address)
    account = users.NewAccount(form.email, form.password, invitation=form.invitation)
    password_hash = await turn.hash(hash_password, form.password)
    now, by = container.clock.now(), visitor(form.email, address)
    return _form_of(
        await run_in_threadpool(
            users.open_account, container.engine, account, password_hash, now, by
        )
    )


@router.post(
    "/login",
    summary="Get an access token",
    responses=problems(401, 429, *BODY_PROBLEMS),
)
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    request: Request,
    container: Services,
    turn: DatabaseTurn,
) -> AccessToken:
    """Send `username` (the e-mail address) and `password` as a form; the token goes along as `Authorization: Bearer …`.

    Five failures in a minute for one account, or twenty from one address, are answered with 429.
    """
    check_json([form.username, form.password])
    email, visit = login_name(form.username), visit_of(request, container)
    attempt = users.Login(container.engine, container.throttle, email, visit)
    user = await run_in_threadpool(attempt.find)
    fits = await turn.hash(users.password_fits, user, form.password)
    return tokens_of(container, await run_in_threadpool(attempt.end, user, fits=fits))


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
async def change_password(
    form: PasswordChange,
    caller: CurrentCaller,
    request: Request,
    container: Services,
    turn: DatabaseTurn,
) -> AccessToken:
    """Set another password. All sessions and older tokens end; the answer holds new ones. API keys stay.

    Five wrong passwords in a minute are answered with 429. An API key may not do this (403).
    """
    caller.require_login()
    engine, throttle = container.engine, container.throttle
    user = await run_in_threadpool(users.account, engine, caller.id)
    await run_in_threadpool(throttle.count, PASSWORD_CHANGES, user.id)
    swap = users.PasswordSwap(form.current_password, form.new_password)
    password_hash = await turn.hash(users.swapped, user, swap)
    await run_in_threadpool(throttle.forget, PASSWORD_CHANGES, user.id)
    visit = visit_of(request, container)
    return tokens_of(
        container,
        await run_in_threadpool(users.change_password, engine, caller, user, password_hash, visit),
    )


def _form_of(user: User) -> UserForm:
    return UserForm(id=user.id, email=user.email, role=user.role, created_at=user.created_at)
