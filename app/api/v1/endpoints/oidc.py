"""Sign in at the provider of OpenID Connect that the operator has chosen."""

import base64
import binascii
import hmac
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.api.container import Container
from app.api.deps import Services, address_of
from app.api.openapi import problems
from app.api.sign_in import tokens_of, visit_of
from app.api.turns import turn_at
from app.api.v1.links import BaseUrl
from app.core.errors import NotFound
from app.core.security.encryption import CannotDecrypt, KeyRing, Sealed
from app.schemas.auth import AccessToken
from app.services.oidc.identity import (
    Attempt,
    IdentityProvider,
    SignInRefused,
    new_attempt,
    rules_of,
)
from app.services.oidc.sign_in import sign_in
from app.services.throttle import SIGN_INS

COOKIE: Final = "automateos_sign_in"
COOKIE_PATH: Final = "/api/v1/oidc"
COOKIE_LIFE: Final = timedelta(minutes=10)
BOUND_TO: Final = "cookie of a sign-in"
MAX_CODE_CHARACTERS: Final = 4096
MAX_COOKIE_CHARACTERS: Final = 2048
router = APIRouter(prefix="/oidc", tags=["Account"])


@router.get(
    "/login",
    status_code=302,
    summary="Sign in at the identity provider",
    response_class=RedirectResponse,
    responses=problems(404, 429),
)
async def begin(request: Request, container: Services, base_url: BaseUrl) -> Response:
    """Send the browser to the provider; it comes back to `/oidc/callback`. Open this address in a browser.

    404: the operator has not set OIDC_ISSUER.
    """
    provider = _provider(container)
    await run_in_threadpool(container.throttle.count, SIGN_INS, address_of(request))
    attempt = new_attempt()
    answer = RedirectResponse(await provider.authorization_url(attempt, _callback(base_url)), 302)
    answer.set_cookie(
        COOKIE,
        _seal(container.keys, attempt, container.clock.now() + COOKIE_LIFE),
        max_age=int(COOKIE_LIFE.total_seconds()),
        path=COOKIE_PATH,
        secure=base_url.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get(
    "/callback",
    summary="Come back from the identity provider",
    responses=problems(401, 403, 404, 409, 422, 429),
)
async def come_back(
    request: Request,
    response: Response,
    container: Services,
    base_url: BaseUrl,
    code: Annotated[str | None, Query(max_length=MAX_CODE_CHARACTERS)] = None,
    state: Annotated[str | None, Query(max_length=MAX_CODE_CHARACTERS)] = None,
) -> AccessToken:
    """Take what the provider sends with the browser; the answer holds tokens, as that of `POST /login`.

    Only the browser that began the sign-in can end it, within ten minutes; each code counts once.
    """
    provider = _provider(container)
    await run_in_threadpool(container.throttle.count, SIGN_INS, address_of(request))
    attempt = _unseal(container.keys, request.cookies.get(COOKIE), container.clock.now())
    response.delete_cookie(COOKIE, path=COOKIE_PATH)
    if code is None or not hmac.compare_digest(attempt.state.encode(), (state or "").encode()):
        raise SignInRefused
    identity = await provider.identify(code, attempt, _callback(base_url))
    rules = rules_of(container.settings)
    visit = visit_of(request, container)
    async with turn_at(container):
        signed_in = await run_in_threadpool(sign_in, container.engine, identity, rules, visit)
    return tokens_of(container, signed_in)


def _provider(container: Container) -> IdentityProvider:
    if container.identity_provider is None:
        raise NotFound(
            "Sign-in by OpenID Connect is not set up here: the operator sets OIDC_ISSUER."
        )
    return container.identity_provider


def _callback(base_url: str) -> str:
    return f"{base_url}{COOKIE_PATH}/callback"


def _seal(keys: KeyRing, attempt: Attempt, until: datetime) -> str:
    """Return what the browser keeps of an attempt: encrypted, so that it can neither be read nor made up."""
    sealed = keys.seal(orjson.dumps({**asdict(attempt), "until": until.timestamp()}), BOUND_TO)
    return f"{sealed.key_id}.{base64.urlsafe_b64encode(sealed.ciphertext).decode().rstrip('=')}"


def _unseal(keys: KeyRing, cookie: str | None, now: datetime) -> Attempt:
    key_id, _, text = (cookie or "")[:MAX_COOKIE_CHARACTERS].partition(".")
    try:
        ciphertext = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        fields = orjson.loads(keys.open(Sealed(key_id, ciphertext), BOUND_TO))
    except (CannotDecrypt, binascii.Error, ValueError):
        raise SignInRefused from None
    if fields.pop("until") < now.timestamp():
        raise SignInRefused
    return Attempt(**fields)
