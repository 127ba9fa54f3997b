"""Accounts: who registers, who logs in, and what ends older tokens.

Hashing a password takes 20 ms, too long to hold a transaction open: on SQLite everybody else would wait. So these
functions take the engine, and what hashes stands apart from the short transactions before and after it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.errors import Conflict, InvalidInput, NotAuthenticated, Problem
from app.core.ids import new_id
from app.core.security.passwords import hash_password, verify_password
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.audit.entry import Actor
from app.models import User
from app.services.audit import Change, record, visitor
from app.services.callers import Caller
from app.services.invitations import accept
from app.services.sessions import SignedIn, Visit, begin_session, end_all
from app.services.throttle import Throttle

WRONG_CREDENTIALS = "The e-mail address or the password is wrong."
CLOSED = "This account is closed: an administrator can open it again."


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account is made from. With neither role nor invitation, the first one becomes admin, later ones member."""

    email: str
    password: str
    role: Role | None = None
    invitation: str | None = None


def register(
    engine: Engine, account: NewAccount, now: datetime, by: Caller | Actor | None = None
) -> User:
    """Return a new account, made by an operator.

    Raises:
        Conflict: the address has an account.
    """
    return open_account(engine, account, hash_password(account.password), now, by)


def open_account(
    engine: Engine,
    account: NewAccount,
    password_hash: str,
    now: datetime,
    by: Caller | Actor | None,
) -> User:
    """Return a new account whose password is hashed, made by the visitor whose it is or by an operator.

    Raises:
        Conflict: the address has an account.
        PermissionDenied: the invitation does not count.
    """
    try:
        with transaction(engine) as session:
            role = account.role
            if account.invitation is not None:
                role = accept(session, account.invitation, account.email, now).role
            user = add_user(session, account.email, password_hash, role, now)
            details = {"role": user.role.value, "invited": account.invitation is not None}
            change = Change("user.registered", "user", user.id, user.id, details)
            record(session, by, change)
    except IntegrityError:
        raise Conflict(f"{account.email} has an account already: log in.") from None
    return user


def add_user(
    session: Session, email: str, password_hash: str, role: Role | None, now: datetime
) -> User:
    """Add an account; without a password hash it can be signed in to through a provider only."""
    user = User(
        id=new_id(),
        email=email,
        password_hash=password_hash,
        role=role or _role_of_the_next(session),
        created_at=now,
    )
    session.add(user)
    session.flush()
    return user


@dataclass(frozen=True, slots=True)
class Login:
    """An attempt to begin a session with a password: `find` whose it may be, ask whether it `fits`, and `end` it."""

    engine: Engine
    throttle: Throttle
    email: str
    visit: Visit

    def find(self) -> User | None:
        """Return who has the address, if anybody.

        Raises:
            TooManyRequests: too many failures for this account or from this address.
        """
        self.throttle.enter(self.email, self.visit.address or "")
        with transaction(self.engine) as session:
            return session.exec(select(User).where(User.email == self.email)).first()

    def end(self, user: User | None, *, fits: bool) -> SignedIn:
        """Begin a session of the account that the credentials fit.

        Raises:
            NotAuthenticated: they do not, or it is closed; unknown accounts and wrong passwords look alike.
        """
        if user is None or not fits:
            self.throttle.failed(self.visit.address or "")
            self._record_failure(user)
            raise NotAuthenticated(WRONG_CREDENTIALS)
        self.throttle.succeeded(self.email)
        if not user.active:
            self._record_failure(user)
            raise NotAuthenticated(CLOSED)
        with transaction(self.engine) as session:
            return begin_session(session, user, self.visit, "password")

    def _record_failure(self, user: User | None) -> None:
        """Put a failed login on record; attempts that the throttle refuses do not come here."""
        target_id, owner_id = (self.email, None) if user is None else (user.id, user.id)
        change = Change("login.failed", "user", target_id, owner_id)
        with transaction(self.engine) as session:
            record(session, visitor(self.email, self.visit.address), change)


def password_fits(user: User | None, password: str) -> bool:
    """Tell whether it is this account's password; nobody's takes as long and does not fit."""
    return verify_password(password, user.password_hash if user else None)


def account(engine: Engine, user_id: str) -> User:
    """Return an account that is known to exist."""
    with transaction(engine) as session:
        return session.get_one(User, user_id)


@dataclass(frozen=True, slots=True)
class PasswordSwap:
    """The password of now, and the one to come."""

    current: str
    new: str


def swapped(user: User, swap: PasswordSwap) -> str:
    """Return the hash of an account's new password.

    Raises:
        InvalidInput: the current password is wrong.
    """
    if not verify_password(swap.current, user.password_hash):
        problem = Problem("/current_password", "wrong_password", "This is not your password.")
        raise InvalidInput("The current password is wrong.", [problem])
    return hash_password(swap.new)


def change_password(
    engine: Engine, caller: Caller, user: User, password_hash: str, visit: Visit
) -> SignedIn:
    """Set another password, end all sessions and tokens so far, and begin a new session.

    Raises:
        Conflict: it was changed since the account was read.
    """
    with transaction(engine) as session:
        changed = _end_tokens(session, user, password_hash=password_hash)
        record(session, caller, Change("password.changed", "user", user.id, user.id))
        return begin_session(session, changed, visit, "password_change")


def revoke_sessions(engine: Engine, caller: Caller, visit: Visit) -> SignedIn:
    """End all sessions and tokens so far, and begin a new session.

    Raises:
        Conflict: the account was changed at the same moment.
    """
    user = account(engine, caller.id)
    with transaction(engine) as session:
        changed = _end_tokens(session, user)
        record(session, caller, Change("sessions.revoked", "user", user.id, user.id))
        return begin_session(session, changed, visit, "access_token")


def _role_of_the_next(session: Session) -> Role:
    anybody = select(User.id).limit(1)
    if session.exec(anybody).first() is None and session.get_bind().dialect.name == "postgresql":
        # Of two first registrations at once, the second waits here and then sees the first (SQLite has one writer).
        session.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
    return Role.ADMIN if session.exec(anybody).first() is None else Role.MEMBER


def _end_tokens(session: Session, user: User, **changes: str) -> User:
    version = user.token_version + 1
    statement = (
        update(User)
        .where(col(User.id) == user.id, col(User.token_version) == user.token_version)
        .values(token_version=version, **changes)
    )
    if session.execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("The account was changed at the same moment: try again.")
    end_all(session, user.id)
    return session.get_one(User, user.id)
