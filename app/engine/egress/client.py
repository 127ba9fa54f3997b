"""The HTTP client that nodes get as `context.http`."""

import asyncio
from typing import Any

import httpcore
import httpx

from app.engine.egress.backend import GuardedBackend, Resolve, resolve_host
from app.engine.egress.inflate import READABLE
from app.engine.egress.policy import EgressPolicy
from app.engine.egress.transport import CALL, Call, GuardedTransport, never_held
from app.engine.guards.held import Ask

USER_AGENT = "AutomateOS/0.1"
TOTAL_SECONDS = 300.0
READ_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
MAX_REDIRECTS = 5


class _NoCookies(httpx.Cookies):
    """Keeps no cookie: the client is shared by the runs of all users."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Let the cookies of a response pass."""


class GuardedClient(httpx.AsyncClient):
    """An httpx client whose every call has a total deadline and a size limit.

    A caller narrows or widens them by `extensions={"total_seconds": 5, "max_response_bytes": 65_536}`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._none = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        """Return none, whatever was answered."""
        return self._none

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        del cookies
        raise AttributeError("This client keeps no cookies: send them in a header.")

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request and follow its redirects, all within one deadline."""
        given = request.extensions
        total = float(given.get("total_seconds", TOTAL_SECONDS))
        call = Call(
            origin=request.url,
            total_seconds=total,
            deadline=asyncio.get_running_loop().time() + total,
            max_response_bytes=int(given.get("max_response_bytes", MAX_RESPONSE_BYTES)),
        )
        request.extensions = {**given, CALL: call}
        return await super().send(request, **options)


def build_client(
    policy: EgressPolicy,
    *,
    resolve: Resolve = resolve_host,
    network: httpcore.AsyncNetworkBackend | None = None,
    ask: Ask = never_held,
) -> httpx.AsyncClient:
    """Return the guarded client; one a process is enough, and pools its connections. Close it with `aclose`.

    `ask` tells before each call what holds it back, if anything does.
    """
    return GuardedClient(
        transport=GuardedTransport(GuardedBackend(policy, resolve, network), ask),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": READABLE},
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        max_redirects=MAX_REDIRECTS,
        trust_env=False,
    )
