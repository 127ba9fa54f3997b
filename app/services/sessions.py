"""Sessions: what a sign-in begins, refresh tokens carry on, and a logout ends.

A refresh token counts once. One that comes again was stolen, by whoever comes first or by whoever comes second: its whole
session ends (OAuth 2.0 Security Best Current Practice, RFC 9700, section 4.14.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, delete, update
from sqlmodel import Session, col, select

from app.core.errors import NotAuthenticated, NotFound
from app.core.ids import new_id
from app.core.security.shown_once import REFRESH_TOKEN_PREFIX, digest_of, new_secret
from app.db.session import transaction
from app.models import RefreshToken, User, UserSession
from app.services.audit import Change, record
from app.services.callers import Caller, caller_of
from app.services.pages import newest_first

MAX_USER_AGENT_CHARACTERS: Final = 200
MAX_ADDRESS_CHARACTERS: Final = 64
LOGINS: Final = frozenset({"password", "oidc"})
"""Ways to begin a session by proving who one is anew; the others follow a session that has just ended."""
REFUSED: Final = "The refresh token is not valid: log in again."


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that signs in, or stays signed in: when, from where, with what, and how long its refresh token lives."""

    at: datetime
    life: timedelta
    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An account, its session, and the refresh token that carries the session on."""

    user: User
    session_id: str
    refresh_token: str


def begin_session(session: Session, user: User, visit: Visit, by: str) -> SignedIn:
    """Begin a session of an account that has proved itself, with a password or otherwise: `by` says how."""
    opened = UserSession(
        id=new_id(),
        user_id=user.id,
        token_version=user.token_version,
        address=(visit.address or "")[:MAX_ADDRESS_CHARACTERS] or None,
        user_agent=(visit.user_agent or "")[:MAX_USER_AGENT_CHARACTERS] or None,
        created_at=visit.at,
        refreshed_at=visit.at,
        expires_at=visit.at + visit.life,
    )
    session.add(opened)
    session.flush()
    action = "login.succeeded" if by in LOGINS else "session.started"
    change = Change(action, "session", opened.id, user.id, {"by": by})
    record(session, caller_of(user, address=visit.address), change)
    return SignedIn(user, opened.id, _new_token(session, opened))


def refresh(engine: Engine, token: str, visit: Visit) -> SignedIn:
    """Return the session that a refresh token carries on, with the token that takes its place.

    Raises:
        NotAuthenticated: it is unknown, expired, its session has ended, or it was used before, which ends the session.
    """
    with transaction(engine) as session:
        signed_in = _refreshed(session, digest_of(token), visit)
    if signed_in is None:
        raise NotAuthenticated(REFUSED)
    return signed_in


def end_session(session: Session, caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions: its refresh tokens and access tokens count no more.

    Raises:
        NotFound: it is none of theirs, or over.
    """
    found = session.get(UserSession, session_id, with_for_update=True)
    if found is None or found.user_id != caller.id:
        raise NotFound(f"There is no session {session_id}, or it is not yours.")
    _end(session, found, caller, "session.ended")


def log_out(engine: Engine, token: str, address: str | None) -> None:
    """End the session of a refresh token; one that is over, or never was, stays so."""
    with transaction(engine) as session:
        found = _find(session, digest_of(token))
        if found is not None:
            _, opened, user = found
            _end(session, opened, caller_of(user, address=address), "session.ended")


def list_sessions(
    session: Session, caller: Caller, now: datetime, limit: int, cursor: str | None
) -> tuple[Sequence[UserSession], str | None]:
    """Return a page of the caller's open sessions, newest first, and the next page's cursor."""
    query = (
        select(UserSession)
        .join(User, col(User.id) == UserSession.user_id)
        .where(
            UserSession.user_id == caller.id,
            UserSession.token_version == User.token_version,
            UserSession.expires_at > now,
        )
    )
    return newest_first(session, query, UserSession.id, limit, cursor)


def end_all(session: Session, user_id: str) -> None:
    """Delete all sessions of an account whose `token_version` has just ended them."""
    session.execute(delete(UserSession).where(col(UserSession.user_id) == user_id))


def _refreshed(session: Session, digest: str, visit: Visit) -> SignedIn | None:
    found = _find(session, digest)
    if found is None:
        return None
    token, opened, user = found
    ended = not user.active or opened.token_version != user.token_version
    if ended or token.expires_at <= visit.at:
        return None
    if not _use(session, digest, visit.at):
        caller = caller_of(user, address=visit.address)
        _end(session, opened, caller, "session.refresh_reused")
        return None
    _forget_expired(session, opened.id, visit.at)
    opened.refreshed_at, opened.expires_at = visit.at, visit.at + visit.life
    session.add(opened)
    return SignedIn(user, opened.id, _new_token(session, opened))


def _find(session: Session, digest: str) -> tuple[RefreshToken, UserSession, User] | None:
    """Return a token with its session and account. The session is locked first: its end deletes its tokens, too, and a
    request that held a token and then asked for the session would meet one that goes the other way.
    """
    query = (
        select(RefreshToken, UserSession, User)
        .join(UserSession, col(UserSession.id) == RefreshToken.session_id)
        .join(User, col(User.id) == UserSession.user_id)
        .where(RefreshToken.digest == digest)
        .with_for_update(of=UserSession)
    )
    return session.exec(query).first()


def _use(session: Session, digest: str, now: datetime) -> bool:
    """Use a token up; returns False when it was used before, also by a request at the same moment."""
    statement = (
        update(RefreshToken)
        .where(col(RefreshToken.digest) == digest, col(RefreshToken.used_at).is_(None))
        .values(used_at=now)
    )
    return session.execute(statement).rowcount == 1  # type: ignore[attr-defined,no-any-return]


def _forget_expired(session: Session, session_id: str, now: datetime) -> None:
    """Delete the tokens of a session that would not count any more, also if nobody had used them."""
    statement = delete(RefreshToken).where(
        col(RefreshToken.session_id) == session_id, col(RefreshToken.expires_at) <= now
    )
    session.execute(statement)


def _new_token(session: Session, opened: UserSession) -> str:
    token = new_secret(REFRESH_TOKEN_PREFIX)
    session.add(
        RefreshToken(digest=digest_of(token), session_id=opened.id, expires_at=opened.expires_at)
    )
    return token


def _end(session: Session, opened: UserSession, caller: Caller, action: str) -> None:
    session.execute(delete(UserSession).where(col(UserSession.id) == opened.id))
    record(session, caller, Change(action, "session", opened.id, opened.user_id))
