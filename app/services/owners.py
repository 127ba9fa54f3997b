"""Whose things are: an owner's id is a user's or a team's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlmodel import Session, col, select

from app.models import Team, User

GONE = "(gone)"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user, named by their e-mail address, or a team."""

    kind: Literal["user", "team"]
    id: str
    name: str

    @property
    def who_gives_roles(self) -> str:
        """Return who can give somebody a role on what this owner owns, for the end of a sentence."""
        return self.name if self.kind == "user" else f"an owner of the team {self.name}"


def owners_of(session: Session, owner_ids: Collection[str]) -> Mapping[str, Owner]:
    """Return the owners with these ids."""
    wanted = set(owner_ids)
    users = session.exec(select(User.id, User.email).where(col(User.id).in_(wanted))).all()
    found = {id_: Owner("user", id_, email) for id_, email in users}
    if rest := wanted - found.keys():
        teams = session.exec(select(Team.id, Team.name).where(col(Team.id).in_(rest))).all()
        found |= {id_: Owner("team", id_, name) for id_, name in teams}
    return {id_: found.get(id_, Owner("user", id_, GONE)) for id_ in wanted}


def hold_account(session: Session, user_id: str) -> None:
    """Let nobody else add to what an account may have so many of, before the commit: of two at once, the second counts the first.

    Held weakly, so that other rows may go on referring to it; and before the rows of teams and workflows.
    """
    account = select(User.id).where(User.id == user_id)
    session.exec(account.with_for_update(key_share=True)).one()


def owner_of(session: Session, owner_id: str) -> Owner:
    """Return one owner."""
    return owners_of(session, [owner_id])[owner_id]
