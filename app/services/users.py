"""Accounts: who registers, who logs in, and what ends older tokens.

Hashing a password takes 20 ms, too long to hold a transaction open: on SQLite everybody else would wait. So these
functions take the engine and open short transactions around it.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, Problem
from app.core.ids import new_id
from app.core.security.passwords import hash_password, verify_password
from app.core.security.tokens import TokenClaims
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.audit.entry import Actor
from app.models import User
from app.services.audit import Change, record, visitor
from app.services.callers import Caller, caller_of
from app.services.throttle import PASSWORD_CHANGES, Throttle

WRONG_CREDENTIALS = "The e-mail address or the password is wrong."


def register(
    engine: Engine,
    email: str,
    password: str,
    now: datetime,
    role: Role | None = None,
    by: Caller | Actor | None = None,
) -> User:
    """Return a new account; with no role given the first one becomes admin, later ones member.

    Raises:
        Conflict: the address has an account.
    """
    password_hash = hash_password(password)
    try:
        with transaction(engine) as session:
            role = role or _role_of_the_next(session)
            user = User(
                id=new_id(), email=email, password_hash=password_hash, role=role, created_at=now
            )
            session.add(user)
            record(session, by, Change("user.registered", "user", user.id, user.id, {"role": role}))
    except IntegrityError:
        raise Conflict(f"{email} has an account already: log in.") from None
    return user


def log_in(engine: Engine, throttle: Throttle, email: str, password: str, address: str) -> User:
    """Return the account that these credentials fit.

    Raises:
        NotAuthenticated: they do not; unknown accounts and wrong passwords look alike, and take as long.
        TooManyRequests: too many failures for this account or from this address.
    """
    throttle.enter(email, address)
    user = _by_email(engine, email)
    if not verify_password(password, user.password_hash if user else None) or user is None:
        throttle.failed(address)
        _record_login(engine, visitor(email, address), user, "login.failed")
        raise NotAuthenticated(WRONG_CREDENTIALS)
    throttle.succeeded(email)
    _record_login(engine, caller_of(user, address), user, "login.succeeded")
    return user


def authenticate(engine: Engine, claims: TokenClaims) -> User:
    """Return the account that a token stands for.

    Raises:
        NotAuthenticated: the account is gone, or has ended its older tokens.
    """
    with transaction(engine) as session:
        user = session.get(User, claims.user_id)
    if user is None or user.token_version != claims.token_version:
        raise NotAuthenticated("The access token is no longer valid: log in again.")
    return user


def account(engine: Engine, user_id: str) -> User:
    """Return an account that is known to exist."""
    with transaction(engine) as session:
        return session.get_one(User, user_id)


def change_password(
    engine: Engine, throttle: Throttle, user: User, current: str, new: str, by: Caller
) -> User:
    """Set another password and end all tokens so far; returns the changed account.

    Raises:
        TooManyRequests: too many wrong passwords for this account.
        InvalidInput: the current password is wrong.
        Conflict: it was changed at the same moment.
    """
    throttle.count(PASSWORD_CHANGES, user.id)
    if not verify_password(current, user.password_hash):
        problem = Problem("/current_password", "wrong_password", "This is not your password.")
        raise InvalidInput("The current password is wrong.", [problem])
    throttle.forget(PASSWORD_CHANGES, user.id)
    changes = {"password_hash": hash_password(new)}
    return _end_tokens(engine, user, by, "password.changed", **changes)


def revoke_sessions(engine: Engine, user: User, by: Caller) -> User:
    """End all tokens so far; returns the changed account."""
    return _end_tokens(engine, user, by, "sessions.revoked")


def list_users(engine: Engine) -> Sequence[User]:
    """Return all accounts, oldest first."""
    with transaction(engine) as session:
        return session.exec(select(User).order_by(col(User.id))).all()


def set_role(engine: Engine, email: str, role: Role, by: Caller | Actor | None = None) -> User:
    """Give an account another role.

    Raises:
        NotFound: nobody has this address.
    """
    with transaction(engine) as session:
        user = session.exec(select(User).where(User.email == email)).first()
        if user is None:
            raise NotFound(f"Nobody has the address {email}: `user list` shows all accounts.")
        details = {"from": user.role, "to": role}
        record(session, by, Change("user.role_changed", "user", user.id, user.id, details))
        user.role = role
        session.add(user)
    return user


def _by_email(engine: Engine, email: str) -> User | None:
    with transaction(engine) as session:
        return session.exec(select(User).where(User.email == email)).first()


def _role_of_the_next(session: Session) -> Role:
    anybody = select(User.id).limit(1)
    if session.exec(anybody).first() is None and session.get_bind().dialect.name == "postgresql":
        # Of two first registrations at once, the second waits here and then sees the first (SQLite has one writer).
        session.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
    return Role.ADMIN if session.exec(anybody).first() is None else Role.MEMBER


def _record_login(engine: Engine, by: Caller | Actor, user: User | None, action: str) -> None:
    """Put it on record in a transaction of its own; attempts that the throttle refuses do not come here."""
    target_id, owner_id = (by.email or "", None) if user is None else (user.id, user.id)
    with transaction(engine) as session:
        record(session, by, Change(action, "user", target_id, owner_id))


def _end_tokens(engine: Engine, user: User, by: Caller, action: str, **changes: str) -> User:
    version = user.token_version + 1
    statement = (
        update(User)
        .where(col(User.id) == user.id, col(User.token_version) == user.token_version)
        .values(token_version=version, **changes)
    )
    with transaction(engine) as session:
        if session.execute(statement).rowcount != 1:  # type: ignore[attr-defined]
            raise Conflict("The account was changed at the same moment: try again.")
        record(session, by, Change(action, "user", user.id, user.id))
        return session.get_one(User, user.id)
