"""What administrators do with accounts: see them, give them roles, close them and open them again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.core.errors import Conflict, NotFound
from app.core.statuses import Role
from app.engine.audit.entry import Actor
from app.models import ApiKey, User
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.pages import newest_first
from app.services.sessions import end_all

LAST_ADMIN = "This is the last administrator: make another account `admin` first."


@dataclass(frozen=True, slots=True)
class UserAdmin:
    """What an administrator, or the operator at the command line, may do with accounts."""

    session: Session
    caller: Caller | Actor

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[User], str | None]:
        """Return a page of all accounts, newest first, and the next page's cursor."""
        return newest_first(self.session, select(User), User.id, limit, cursor)

    def all(self) -> Sequence[User]:
        """Return all accounts, oldest first."""
        return self.session.exec(select(User).order_by(col(User.id))).all()

    def with_email(self, email: str) -> User:
        """Return an account by its address.

        Raises:
            NotFound: nobody has this address.
        """
        user = self.session.exec(select(User).where(User.email == email)).first()
        if user is None:
            raise NotFound(f"Nobody has the address {email}: `user list` shows all accounts.")
        return user

    def change(self, user_id: str, role: Role | None = None, active: bool | None = None) -> User:
        """Give an account another role, close it, or open it again; what is None stays.

        Closing ends its tokens, sessions and API keys at once, and for good. Its workflows go on: to stop them is what
        kill switches are for.

        Raises:
            NotFound: there is no such account.
            Conflict: it is the last active administrator.
        """
        admins = hold_admins(self.session)
        user = self.session.get(User, user_id, with_for_update=True)
        if user is None:
            raise NotFound(f"There is no account {user_id}.")
        stays_admin = (role or user.role) is Role.ADMIN and active is not False
        if admins == [user.id] and not stays_admin:
            raise Conflict(LAST_ADMIN)
        if role is not None and role is not user.role:
            self._record("user.role_changed", user, {"from": user.role.value, "to": role.value})
            user.role = role
        if active is not None and active is not user.active:
            self._close(user) if not active else self._open(user)
        self.session.add(user)
        return user

    def _close(self, user: User) -> None:
        user.active = False
        user.token_version += 1
        end_all(self.session, user.id)
        self.session.execute(delete(ApiKey).where(col(ApiKey.user_id) == user.id))
        self._record("user.closed", user, {})

    def _open(self, user: User) -> None:
        user.active = True
        self._record("user.opened", user, {})

    def _record(self, action: str, user: User, details: dict[str, str]) -> None:
        change = Change(action, "user", user.id, user.id, {"email": user.email, **details})
        record(self.session, self.caller, change)


def hold_admins(session: Session) -> Sequence[str]:
    """Return who is an active administrator, held in one order: of two who demote each other, one comes second.

    Whoever is to change a role holds them first, before any account.
    """
    query = (
        select(User.id)
        .where(User.role == Role.ADMIN, col(User.active))
        .order_by(col(User.id))
        .with_for_update()
    )
    return session.exec(query).all()
