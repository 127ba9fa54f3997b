"""Which account somebody has whom a provider has identified: theirs, one with their address, or a new one."""

from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.errors import Conflict, PermissionDenied
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.audit.entry import SYSTEM
from app.models import ApiKey, User, UserIdentity
from app.schemas.auth import normal_email
from app.services.audit import Change, record
from app.services.callers import caller_of
from app.services.oidc.identity import Identity, SignInRefused, SignInRules
from app.services.sessions import SignedIn, Visit, begin_session, end_all
from app.services.user_admin import UserAdmin, hold_admins
from app.services.users import CLOSED, add_user

NO_ADDRESS = "The provider tells no verified e-mail address of you, so that no account can be found or made: verify it there."
NO_ACCOUNT = "You have no account here: ask an administrator for an invitation, or for OIDC_ALLOW_REGISTRATION=true."
NO_PASSWORD = ""


def sign_in(engine: Engine, identity: Identity, rules: SignInRules, visit: Visit) -> SignedIn:
    """Begin a session of the account that an identity has, or is given.

    Raises:
        SignInRefused: the account is closed.
        PermissionDenied: there is no account, and none may be made.
        Conflict: the same person signs in at the same moment, for the first time.
    """
    try:
        with transaction(engine) as session:
            user = _linked(session, identity) or _link(session, identity, rules, visit)
            if not user.active:
                raise SignInRefused(CLOSED)
            _give_role(session, user, rules.role_of(identity.groups))
            return begin_session(session, user, visit, "oidc")
    except IntegrityError:
        raise Conflict("You are signing in elsewhere at the same moment: try again.") from None


def _linked(session: Session, identity: Identity) -> User | None:
    link = session.get(UserIdentity, (identity.issuer, identity.subject))
    return None if link is None else session.get_one(User, link.user_id)


def _link(session: Session, identity: Identity, rules: SignInRules, visit: Visit) -> User:
    email = _address(identity)
    if rules.roles is not None:
        hold_admins(session)
    user = session.exec(select(User).where(User.email == email).with_for_update()).first()
    if user is None:
        user = _new_account(session, email, identity, rules, visit)
    elif not (rules.addresses_are_proved and user.role is Role.ADMIN):
        _take_over(session, user)
    link = UserIdentity(
        issuer=identity.issuer, subject=identity.subject, user_id=user.id, created_at=visit.at
    )
    session.add(link)
    details = {"issuer": identity.issuer, "subject": identity.subject}
    change = Change("identity.linked", "user", user.id, user.id, details)
    record(session, caller_of(user, address=visit.address), change)
    return user


def _address(identity: Identity) -> str:
    try:
        return normal_email(identity.email or "")
    except ValueError:
        raise PermissionDenied(NO_ADDRESS) from None


def _new_account(
    session: Session, email: str, identity: Identity, rules: SignInRules, visit: Visit
) -> User:
    if not rules.registers:
        raise PermissionDenied(NO_ACCOUNT)
    user = add_user(session, email, NO_PASSWORD, rules.role_of(identity.groups), visit.at)
    details = {"role": user.role.value, "issuer": identity.issuer}
    change = Change("user.registered", "user", user.id, user.id, details)
    record(session, caller_of(user, address=visit.address), change)
    return user


def _take_over(session: Session, user: User) -> None:
    """Leave an account to whoever has its address.

    Anybody could have made it in advance, while registration was open or with an invitation that names no address, with a
    password of their own, and wait for its owner. An administrator was made one by somebody who knew them.
    """
    user.password_hash = NO_PASSWORD
    user.token_version += 1
    session.add(user)
    end_all(session, user.id)
    session.execute(delete(ApiKey).where(col(ApiKey.user_id) == user.id))


def _give_role(session: Session, user: User, role: Role | None) -> None:
    """Give what the provider says; the last administrator stays one, for somebody must be."""
    if role is None or role is user.role:
        return
    try:
        UserAdmin(session, SYSTEM).change(user.id, role=role)
    except Conflict:
        return
