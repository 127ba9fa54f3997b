"""Invitations: the right to make one account, also while registration is closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.core.errors import NotFound, PermissionDenied
from app.core.ids import new_id
from app.core.security.shown_once import INVITATION_PREFIX, digest_of, new_secret
from app.core.statuses import Role
from app.models import Invitation
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.pages import newest_first

REFUSED = "The invitation does not count: it is unknown, used, expired, or for another address. Ask for another."


@dataclass(frozen=True, slots=True)
class Offer:
    """Whom to invite, as what, until when. No address: whoever has the token."""

    email: str | None
    role: Role
    life: timedelta


@dataclass(frozen=True, slots=True)
class Invitations:
    """What an administrator may do with invitations."""

    session: Session
    caller: Caller
    now: datetime

    def create(self, offer: Offer) -> tuple[Invitation, str]:
        """Return a new invitation, and its token, which is shown this once."""
        token = new_secret(INVITATION_PREFIX)
        made = Invitation(
            id=new_id(),
            digest=digest_of(token),
            email=offer.email,
            role=offer.role,
            invited_by=self.caller.id,
            created_at=self.now,
            expires_at=self.now + offer.life,
        )
        self.session.add(made)
        self._record("invitation.created", made)
        return made, token

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[Invitation], str | None]:
        """Return a page of the invitations that can be accepted, newest first, and the next page's cursor."""
        query = select(Invitation).where(Invitation.expires_at > self.now)
        return newest_first(self.session, query, Invitation.id, limit, cursor)

    def withdraw(self, invitation_id: str) -> None:
        """Delete an invitation that nobody has accepted.

        Raises:
            NotFound: there is none.
        """
        # Locked, so that one whose token is accepted at this moment counts as accepted, and of two who withdraw it one does.
        found = self.session.get(Invitation, invitation_id, with_for_update=True)
        if found is None:
            raise NotFound(f"There is no open invitation {invitation_id}.")
        self.session.delete(found)
        self._record("invitation.withdrawn", found)

    def _record(self, action: str, made: Invitation) -> None:
        details = {"email": made.email, "role": made.role.value}
        record(self.session, self.caller, Change(action, "invitation", made.id, None, details))


def accept(session: Session, token: str, email: str, now: datetime) -> Invitation:
    """Use an invitation up, with the commit that makes the account.

    Raises:
        PermissionDenied: it is unknown, used, expired, or for another address.
    """
    query = select(Invitation).where(Invitation.digest == digest_of(token))
    found = session.exec(query).first()
    if found is None or found.expires_at <= now or found.email not in (None, email):
        raise PermissionDenied(REFUSED)
    # Of two who accept it at once, one deletes it.
    used = session.execute(delete(Invitation).where(col(Invitation.id) == found.id))
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise PermissionDenied(REFUSED)
    return found
