"""What signing in needs of a request, and what it answers."""

from datetime import timedelta

from fastapi import Request

from app.api.container import Container
from app.api.deps import address_of
from app.core.security.tokens import issue_token
from app.schemas.auth import AccessToken
from app.services.sessions import SignedIn, Visit


def visit_of(request: Request, container: Container) -> Visit:
    """Return what is to be known of a request that signs in."""
    life = timedelta(days=container.settings.refresh_token_days)
    user_agent = request.headers.get("user-agent")
    return Visit(container.clock.now(), life, address_of(request), user_agent)


def tokens_of(container: Container, signed_in: SignedIn) -> AccessToken:
    """Return the tokens of a session: a fresh access token, and the refresh token that carries it on."""
    minutes, user = container.settings.access_token_minutes, signed_in.user
    now = container.clock.now()
    token = issue_token(
        container.key, user.id, user.token_version, now, minutes, signed_in.session_id
    )
    return AccessToken(
        access_token=token,
        expires_in=minutes * 60,
        refresh_token=signed_in.refresh_token,
        refresh_expires_in=container.settings.refresh_token_days * 86_400,
    )
