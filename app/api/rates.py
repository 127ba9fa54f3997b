"""Rate limits at the door: calls are counted by address before anything else, and by who is known to call afterwards.

Every answer to a call that a limit applies to says how the caller stands, in the fields `RateLimit-Policy` and `RateLimit`
of draft-ietf-httpapi-ratelimit-headers.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.container import Container
from app.api.errors import problem_of
from app.api.refusals import count_refusal
from app.core.addresses import counted_as
from app.core.errors import TooManyRequests
from app.services.rate_limits import Counted, RateLimits, Standing

LIMITED: Final = "/api/"
"""Not: health checks, metrics and documentation, which whoever runs the platform reads."""
STANDINGS: Final = "automateos.standings"


class RateGuard:
    """Turns calls from an address away that has sent too many, before anybody asks who it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the call, and tell in its answer how the caller stands."""
        limits = _limits_of(scope)
        if limits is None or not limits.any or not scope["path"].startswith(LIMITED):
            await self.app(scope, receive, send)
            return
        standings: list[Standing] = []
        scope[STANDINGS] = standings

        async def send_with_standings(message: Message) -> None:
            if standings and message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_fields(standings)]
                message = {**message, "headers": headers}
            await send(message)

        client = scope.get("client")
        try:
            count_call(scope, Counted.ADDRESS, counted_as(client[0] if client else "unknown"))
        except TooManyRequests as error:
            count_refusal(scope, error.code)
            await problem_of(error)(scope, receive, send_with_standings)
            return
        await self.app(scope, receive, send_with_standings)


def count_call(scope: Scope, counted: Counted, who: str) -> None:
    """Count a call against a limit, if there is one.

    Raises:
        TooManyRequests: it is one too many.
    """
    limits = _limits_of(scope)
    if limits is not None:
        _note(scope, limits.count(counted, who))


def require_room(scope: Scope, counted: Counted, who: str) -> None:
    """Refuse a call to what is used up; what is not is counted later, when the caller is known to be let in.

    Raises:
        TooManyRequests: it is.
    """
    limits = _limits_of(scope)
    standing = limits.look(counted, who) if limits is not None else None
    if standing is not None and standing.retry_seconds is not None:
        _note(scope, standing)


def show_standing(scope: Scope, counted: Counted, who: str) -> None:
    """Tell in the answer how it stands with what was counted elsewhere."""
    limits = _limits_of(scope)
    standing = limits.look(counted, who) if limits is not None else None
    if standing is not None:
        scope[STANDINGS].append(standing)


def _note(scope: Scope, standing: Standing | None) -> None:
    if standing is not None:
        scope[STANDINGS].append(standing)
        standing.require()


def _limits_of(scope: Scope) -> RateLimits | None:
    if scope["type"] != "http":
        return None
    container: Container | None = getattr(scope["app"].state, "container", None)
    return None if container is None else container.rates


def _fields(standings: list[Standing]) -> list[tuple[bytes, bytes]]:
    policies = ", ".join(f'"{one.counted}";q={one.quota};w={one.seconds}' for one in standings)
    now = ", ".join(f'"{one.counted}";r={one.remaining};t={one.reset_seconds}' for one in standings)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", now.encode())]
