"""Talks to the provider of OpenID Connect: where it is described, what it makes of a code, which keys it signs with.

Imported only when one is configured. The provider is the operator's choice, so it may be on a private network; each answer
still has a deadline and a size, and redirects are not followed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from app.core.clock import Clock, SystemClock
from app.core.config import Settings
from app.core.errors import MalformedBody, Unavailable
from app.core.json_guard import parse_json
from app.core.logging import get_logger
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.services.oidc.id_token import (
    Expected,
    IdTokenRefused,
    Key,
    UnknownKey,
    usable_keys,
    verify,
)
from app.services.oidc.identity import Attempt, Identity, IdentityProvider, SignInRefused, groups_of

EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
TOTAL_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 512 * 1024
REMEMBERED_SECONDS: Final = 3_600.0
KEYS_AGAIN_SECONDS: Final = 60.0
AWAY: Final = "The identity provider does not answer right now: try again shortly."
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the provider has told of itself, and when."""

    description: Mapping[str, str]
    basic: bool
    keys: tuple[Key, ...]
    at: float


def connect(settings: Settings) -> IdentityProvider:
    """Return the provider of the settings; nothing is asked before somebody signs in."""
    return Provider(settings, build_client(build_policy(EVERYWHERE)), SystemClock())


class Provider:
    """A provider, described by its discovery document, which is remembered for an hour. Lives on the event loop."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, clock: Clock) -> None:
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret else None
        self._scopes = settings.oidc_scopes
        self._role_claim = settings.oidc_role_claim
        self._http = http
        self._clock = clock
        self._known: _Known | None = None

    async def authorization_url(self, attempt: Attempt, redirect_uri: str) -> str:
        """Return where a browser is sent to sign in.

        Raises:
            Unavailable: the provider does not answer, or not as it should.
        """
        known = await self._describe()
        return str(
            prepare_grant_uri(
                known.description["authorization_endpoint"],
                self._client_id,
                "code",
                redirect_uri=redirect_uri,
                scope=self._scopes,
                state=attempt.state,
                nonce=attempt.nonce,
                code_challenge=create_s256_code_challenge(attempt.verifier),
                code_challenge_method="S256",
            )
        )

    async def identify(self, code: str, attempt: Attempt, redirect_uri: str) -> Identity:
        """Return whom a code stands for.

        Raises:
            SignInRefused: the provider refuses the code, or its id_token does not count.
            Unavailable: the provider does not answer, or not as it should.
        """
        known = await self._describe()
        answer = await self._redeem(known, code, attempt, redirect_uri)
        token = answer.get("id_token")
        if not isinstance(token, str):
            log.warning("oidc_refused", reason=f"no id_token: {str(answer.get('error'))[:100]}")
            raise SignInRefused
        expected = Expected(self._issuer, self._client_id, attempt.nonce, self._clock.now())
        try:
            claims = await self._verified(token, known, expected)
        except IdTokenRefused as error:
            log.warning("oidc_refused", reason=str(error)[:200])
            raise SignInRefused from None
        return self._identity(claims)

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        email = claims.get("email")
        verified = claims.get("email_verified") is True and isinstance(email, str)
        groups = groups_of(claims.get(self._role_claim)) if self._role_claim else ()
        return Identity(self._issuer, claims["sub"], email if verified else None, groups)

    async def _verified(self, token: str, known: _Known, expected: Expected) -> Mapping[str, Any]:
        try:
            return verify(token, known.keys, expected)
        except UnknownKey:
            if self._clock.monotonic() - known.at < KEYS_AGAIN_SECONDS:
                raise
        self._known = None
        return verify(token, (await self._describe()).keys, expected)

    async def _describe(self) -> _Known:
        known, now = self._known, self._clock.monotonic()
        if known is None or now - known.at > REMEMBERED_SECONDS:
            address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            document = await self._ask("GET", address)
            if document.get("issuer") != self._issuer:
                log.warning("oidc_wrong_issuer", told=str(document.get("issuer"))[:200])
                raise Unavailable(AWAY)
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            description = {name: self._endpoint(document.get(name)) for name in names}
            keys = usable_keys(await self._ask("GET", description["jwks_uri"]))
            methods = document.get("token_endpoint_auth_methods_supported")
            basic = not isinstance(methods, list) or "client_secret_basic" in methods
            self._known = known = _Known(description, basic, tuple(keys), now)
        return known

    def _endpoint(self, address: object) -> str:
        """Return an address that the provider names; it may not lead from https to http."""
        if isinstance(address, str) and address.startswith(
            ("https://",) if self._issuer.startswith("https://") else ("https://", "http://")
        ):
            return address
        log.warning("oidc_wrong_endpoint", told=str(address)[:200])
        raise Unavailable(AWAY)

    async def _redeem(
        self, known: _Known, code: str, attempt: Attempt, redirect_uri: str
    ) -> Mapping[str, Any]:
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=redirect_uri,
            code=code,
            code_verifier=attempt.verifier,
        )
        method = "client_secret_basic" if known.basic else "client_secret_post"
        auth = ClientAuth(self._client_id, self._secret, method if self._secret else "none")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        endpoint = known.description["token_endpoint"]
        address, headers, body = auth.prepare("POST", endpoint, headers, body)
        return await self._ask("POST", address, headers=headers, content=body)

    async def _ask(self, method: str, address: str, **options: Any) -> Mapping[str, Any]:
        limits = {"total_seconds": TOTAL_SECONDS, "max_response_bytes": MAX_ANSWER_BYTES}
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                answer = await self._http.request(
                    method, address, headers=headers, extensions=limits, **options
                )
            document = parse_json(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, MalformedBody, TimeoutError) as error:
            log.warning("oidc_provider_away", error=f"{type(error).__name__}: {error}"[:200])
            raise Unavailable(AWAY) from None
        # The token endpoint refuses a code with 400 and a document that says so (RFC 6749, section 5.2).
        if not isinstance(document, dict) or not (answer.is_success or method == "POST"):
            log.warning("oidc_provider_away", error=f"it answers {answer.status_code}")
            raise Unavailable(AWAY)
        return document
