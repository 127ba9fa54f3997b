"""Rate limits at the door: calls are counted by address before anything else, and by who is known to call afterwards.

Every answer to a call that a limit applies to says how the caller stands, in the fields `RateLimit-Policy` and `RateLimit`
of draft-ietf-httpapi-ratelimit-headers.
"""

from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.container import Container
from app.api.errors import problem_of
from app.api.refusals import count_refusal
from app.core.addresses import counted_as
from app.core.errors import TooManyRequests
from app.core.security.tokens import TokenClaims
from app.services.authentication import Proof
from app.services.rate_limits import Counted, RateLimits, Standing

LIMITED: Final = "/api/"
"""Not: health checks, metrics and documentation, which whoever runs the platform reads."""
TALLY: Final = "automateos.tally"


class RateGuard:
    """Turns calls from an address away that has sent too many, before anybody asks who it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the call, and tell in its answer how the caller stands."""
        limits = _limits_of(scope)
        if limits is None or not scope["path"].startswith(LIMITED):
            await self.app(scope, receive, send)
            return
        tally = scope[TALLY] = _Tally(limits)

        async def send_with_standings(message: Message) -> None:
            if tally.standings and message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_fields(tally.standings)]
                message = {**message, "headers": headers}
            await send(message)

        try:
            if limits.limits(Counted.ADDRESS):
                client = scope.get("client")
                count_call(scope, Counted.ADDRESS, counted_as(client[0] if client else "unknown"))
        except TooManyRequests as error:
            count_refusal(scope, error.code)
            await problem_of(error)(scope, receive, send_with_standings)
            return
        await self.app(scope, receive, send_with_standings)


@dataclass(slots=True)
class _Tally:
    """How a call stands with the limits that were asked so far."""

    limits: RateLimits
    standings: list[Standing] = field(default_factory=list)

    def note(self, standing: Standing | None) -> Standing | None:
        """Tell of it in the answer."""
        if standing is not None:
            self.standings.append(standing)
        return standing


def count_call(scope: Scope, counted: Counted, who: str) -> None:
    """Count a call against a limit, if there is one.

    Raises:
        TooManyRequests: it is one too many.
    """
    tally: _Tally | None = scope.get(TALLY)
    if tally is not None and (standing := tally.note(tally.limits.count(counted, who))):
        standing.require()


def count_proof(scope: Scope, proof: Proof) -> None:
    """Count a call by what the caller shows. An API key is not looked up yet, so it is counted by the whole of its text:
    whoever only knows its id uses up nothing of it. Its account is counted when that is known.

    Raises:
        TooManyRequests: it is one too many.
    """
    if isinstance(proof, TokenClaims):
        count_call(scope, Counted.USER, proof.user_id)
    else:
        count_call(scope, Counted.KEY, proof.digest)


def require_room(scope: Scope, counted: Counted, who: str) -> None:
    """Refuse a call to what is used up; what is not is counted later, when the caller is known to be let in.

    Raises:
        TooManyRequests: it is.
    """
    tally: _Tally | None = scope.get(TALLY)
    standing = None if tally is None else tally.limits.look(counted, who)
    if tally is not None and standing is not None and standing.retry_seconds is not None:
        tally.note(standing)
        standing.require()


def show_standing(scope: Scope, counted: Counted, who: str) -> None:
    """Tell in the answer how it stands with what was counted elsewhere."""
    tally: _Tally | None = scope.get(TALLY)
    if tally is not None:
        tally.note(tally.limits.look(counted, who))


def _limits_of(scope: Scope) -> RateLimits | None:
    """Return the limits, if there are any."""
    if scope["type"] != "http":
        return None
    container: Container | None = getattr(scope["app"].state, "container", None)
    return container.rates if container is not None and container.rates.any else None


def _fields(standings: list[Standing]) -> list[tuple[bytes, bytes]]:
    policies = ", ".join(f'"{one.counted}";q={one.quota};w={one.seconds}' for one in standings)
    now = ", ".join(f'"{one.counted}";r={one.remaining};t={one.reset_seconds}' for one in standings)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", now.encode())]
