"""Access tokens of OAuth clients (RFC 6749, section 4.4): fetched once for all who ask at the same time, kept until shortly
before they expire, in this process's memory alone."""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from app.core.clock import Clock
from app.engine.credentials.kinds.basic import basic_value
from app.engine.credentials.kinds.data import CredentialData
from app.engine.credentials.kinds.oauth2_client_credentials import OAuth2ClientCredentials
from app.engine.egress.host_guard import HOST_GUARD
from app.engine.sdk import Fail, Retry

FETCH_SECONDS = 15.0
MAX_RESPONSE_BYTES = 64 * 1024
MAX_TOKEN_CHARACTERS = 16_384
DEFAULT_LIFE_SECONDS = 300.0
"""Of a token whose server does not say."""
MARGIN_SECONDS = 60.0
MAX_TOKENS = 1_000
REFUSED = (400, 401)
"""What servers answer that want the client's secret in the body, and not in the header."""
TRY_LATER = (408, 425, 429)
Key = tuple[str, int]
"""A credential's id and revision: a changed one gets tokens of its own."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and until when (of the monotonic clock) it is handed out."""

    value: str
    until: float


class Tokens:
    """The access tokens of this process. Belongs to one event loop."""

    def __init__(self, http: httpx.AsyncClient, clock: Clock) -> None:
        self._http, self._clock = http, clock
        self._kept: dict[Key, Token] = {}
        self._fetching: dict[Key, asyncio.Task[Token]] = {}

    async def get(
        self, credential_id: str, revision: int, client: CredentialData, refused: str | None
    ) -> str:
        """Return a token of a client, another one than the `refused`.

        Raises:
            Fail: the client is no OAuth client, or its server refuses it.
            Retry: the server does not answer.
        """
        if not isinstance(client, OAuth2ClientCredentials):
            raise Fail("This credential has no access token.", code="wrong_credential_kind")
        key = (credential_id, revision)
        kept = self._kept.get(key)
        if kept is not None and kept.value != refused and self._clock.monotonic() < kept.until:
            return kept.value
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = asyncio.create_task(self._fetch(key, client))
            self._fetching[key] = fetching
            fetching.add_done_callback(lambda task: self._fetched(key, task))
        return (await asyncio.shield(fetching)).value

    def _fetched(self, key: Key, task: asyncio.Task[Token]) -> None:
        del self._fetching[key]
        if not task.cancelled():
            task.exception()  # seen, should nobody wait for it any more

    async def close(self) -> None:
        """Forget everything; nobody waits for what is being fetched."""
        for task in [*self._fetching.values()]:
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        self._kept.clear()

    async def _fetch(self, key: Key, client: OAuth2ClientCredentials) -> Token:
        HOST_GUARD.set(None)  # in this task alone: whoever asks first may be held to other hosts
        token = await fetch_token(self._http, client, self._clock.monotonic())
        now = self._clock.monotonic()
        self._kept = {old: kept for old, kept in self._kept.items() if kept.until > now}
        if len(self._kept) < MAX_TOKENS:
            self._kept[key] = token
        return token


async def fetch_token(
    http: httpx.AsyncClient, client: OAuth2ClientCredentials, now: float
) -> Token:
    """Ask for a token: with the secret in the header, as every server must take it, or else in the body, as some want it."""
    answer = await _ask(http, client, in_body=False)
    if answer.status_code in REFUSED:
        answer = await _ask(http, client, in_body=True)
    host = httpx.URL(client.token_url).host
    if answer.status_code in TRY_LATER or answer.status_code >= 500:
        message = f"{host}, which gives the access tokens, answered {answer.status_code}."
        raise Retry(message, code="token_unavailable")
    if answer.status_code != 200:
        message = f"{host} answered {answer.status_code} and gave no access token: check the client id and secret of the credential."
        raise Fail(message, code="token_refused")
    return _token_in(answer, host, now)


async def _ask(
    http: httpx.AsyncClient, client: OAuth2ClientCredentials, *, in_body: bool
) -> httpx.Response:
    form = {"grant_type": "client_credentials", "scope": client.scope, "audience": client.audience}
    headers = {"Accept": "application/json"}
    if in_body:
        form |= {"client_id": client.client_id, "client_secret": client.client_secret}
    else:
        headers["Authorization"] = f"Basic {basic_value(client.client_id, client.client_secret)}"
    try:
        return await http.post(
            client.token_url,
            data={name: value for name, value in form.items() if value is not None},
            headers=headers,
            follow_redirects=False,
            extensions={"total_seconds": FETCH_SECONDS, "max_response_bytes": MAX_RESPONSE_BYTES},
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"No access token could be fetched: {str(error) or type(error).__name__}"
        raise Retry(message, code="token_unavailable") from None


def _token_in(answer: httpx.Response, host: str, now: float) -> Token:
    try:
        told: Any = orjson.loads(answer.content)
        value, life = told["access_token"], told.get("expires_in", DEFAULT_LIFE_SECONDS)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _no_token(host) from None
    usable = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    if not usable or not 0 < len(value) <= MAX_TOKEN_CHARACTERS:
        raise _no_token(host)
    seconds = _seconds(life)
    return Token(value, now + seconds - min(MARGIN_SECONDS, seconds / 5))


def _seconds(life: Any) -> float:
    try:
        seconds = float(life)
    except (TypeError, ValueError):
        return DEFAULT_LIFE_SECONDS
    return max(seconds, 0.0) if math.isfinite(seconds) else DEFAULT_LIFE_SECONDS


def _no_token(host: str) -> Fail:
    return Fail(f"What {host} answered holds no access token.", code="token_refused")
