"""Teams: who is in them, and what each member may do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.core.permissions import Scope, TeamRole
from app.engine.guards.policies import Level
from app.models import Credential, Team, TeamMember, TeamName, User, Workflow, WorkflowShare
from app.schemas.team import MemberForm, TeamForm, team_key
from app.services.access import require_team
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.owners import hold_account
from app.services.pages import newest_first
from app.services.policy_caps import forget_budgets

MAX_TEAMS: Final = 50
"""That one person has made and is in, and as many made by others: lists of runs walk along each."""
MAX_MEMBERS: Final = 500
LAST_OWNER: Final = "A team has at least one owner: make somebody else one first."


@dataclass(frozen=True, slots=True)
class Teams:
    """What a user may do with teams. `session` is committed by the caller."""

    session: Session
    caller: Caller
    clock: Clock

    def create(self, name: str) -> TeamForm:
        """Make a team, with the caller as its owner.

        Raises:
            Conflict: the name is, or was, another team's (unless the caller has deleted that); or the caller has made as many as one can be in.
        """
        hold_account(self.session, self.caller.id)
        self._require_room_for_own()
        now, caller = self.clock.now(), self.caller
        team = Team(id=new_id(), name=name, created_by=caller.id, created_at=now)
        self.session.add(team)
        self.session.flush()
        self._take_name(team, name)
        owner = TeamMember(team_id=team.id, user_id=caller.id, role=TeamRole.OWNER)
        self.session.add(owner)
        self._record("team.created", team, name=name)
        return _form(team, TeamRole.OWNER)

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[TeamForm], str | None]:
        """Return a page of the caller's teams, newest first, and the next page's cursor."""
        query = select(Team).where(col(Team.id).in_(self.caller.teams))
        found, next_cursor = newest_first(self.session, query, Team.id, limit, cursor)
        return [_form(team, self.caller.teams[team.id]) for team in found], next_cursor

    def get(self, team_id: str) -> TeamForm:
        """Return a team of the caller's.

        Raises:
            NotFound: there is none, or the caller is not in it.
        """
        team = require_team(self.session, self.caller, team_id, TeamRole.VIEWER)
        return _form(team, self.caller.teams[team.id])

    def rename(self, team_id: str, name: str) -> TeamForm:
        """Give a team another name; it keeps the earlier ones, so that definitions that use them still mean it.

        Raises:
            NotFound: there is none, or the caller is not in it.
            PermissionDenied: the caller is no owner of it.
            Conflict: the name is, or was, another team's (unless the caller has deleted that).
        """
        team = self._hold(team_id)
        if team.name != name:
            self._take_name(team, name)
            team.name = name
            self._record("team.renamed", team, name=name)
        return _form(team, TeamRole.OWNER)

    def delete(self, team_id: str) -> None:
        """End a team that owns no workflows and no credentials.

        Raises:
            NotFound: there is none, or the caller is not in it.
            PermissionDenied: the caller is no owner of it.
            Conflict: it owns some.
        """
        team = self._hold(team_id)
        kept = select(Credential.id).where(Credential.owner_id == team.id)
        owned = select(Workflow.id).where(
            Workflow.owner_id == team.id, col(Workflow.deleted_at).is_(None)
        )
        if self.session.exec(owned.limit(1)).first() is not None:
            raise Conflict("The team owns workflows: delete them, or give them to another owner.")
        if self.session.exec(kept.limit(1)).first() is not None:
            raise Conflict("The team owns credentials: delete them first.")
        team.deleted_at, team.deleted_by = self.clock.now(), self.caller.id
        for statement in (
            delete(TeamMember).where(col(TeamMember.team_id) == team.id),
            delete(WorkflowShare).where(col(WorkflowShare.grantee_id) == team.id),
        ):
            self.session.execute(statement)
        forget_budgets(self.session, (Level.TEAM, team.id), self.caller.email, team.deleted_at)
        self._record("team.deleted", team, name=team.name)

    def members(self, team_id: str) -> Sequence[MemberForm]:
        """Return who is in a team, by e-mail address.

        Raises:
            NotFound: there is no such team, or the caller is not in it.
        """
        team = require_team(self.session, self.caller, team_id, TeamRole.VIEWER)
        query = (
            select(User.email, TeamMember.role)
            .join(TeamMember, col(TeamMember.user_id) == User.id)
            .where(TeamMember.team_id == team.id)
            .order_by(User.email)
        )
        return [MemberForm(email=email, role=role) for email, role in self.session.exec(query)]

    def set_member(self, team_id: str, email: str, role: TeamRole) -> MemberForm:
        """Let somebody into a team, or give a member another role.

        Raises:
            NotFound: there is no such team or person, or the caller is not in the team.
            PermissionDenied: the caller is no owner of it.
            Conflict: it would be left without an owner, or there is no room for more.
        """
        require_team(self.session, self.caller, team_id, TeamRole.OWNER)
        user_id = self._user_id(email)
        hold_account(self.session, user_id)
        team = self._hold(team_id)
        member = self.session.get(TeamMember, (team.id, user_id))
        if member is None:
            self._require_room_for(user_id, email, team)
            self._require_room_in(team)
            member = TeamMember(team_id=team.id, user_id=user_id, role=role)
        elif role is not TeamRole.OWNER:
            self._require_another_owner(member)
        member.role = role
        self.session.add(member)
        self._record("team.member_set", team, member=email, role=role)
        return MemberForm(email=email, role=role)

    def remove_member(self, team_id: str, email: str) -> None:
        """Take somebody out of a team; everybody may leave.

        Raises:
            NotFound: there is no such team or member, or the caller is not in the team.
            PermissionDenied: the caller is no owner of it, and does not leave themselves; or their role or key may not.
            Conflict: it would be left without an owner.
        """
        is_self = email == self.caller.email
        if not is_self or self.caller.api_key_id is not None:
            self.caller.require(
                Scope.TEAMS_WRITE
            )  # whoever was let in may leave, whatever their platform role
        team = self._hold(team_id, TeamRole.VIEWER if is_self else TeamRole.OWNER)
        user_id = self.caller.id if is_self else self._user_id(email)
        member = self.session.get(TeamMember, (team.id, user_id))
        if member is None:
            raise NotFound(f"{email} is not in this team.")
        self._require_another_owner(member)
        self.session.delete(member)
        self._record("team.member_removed", team, member=email)

    def _hold(self, team_id: str, role: TeamRole = TeamRole.OWNER) -> Team:
        """Return a team that nobody else changes until the commit, so that it always keeps an owner."""
        team = require_team(self.session, self.caller, team_id, role)
        self.session.refresh(team, with_for_update=True)
        if team.deleted_at is not None:
            raise NotFound("The team has just been deleted.")
        return team

    def _take_name(self, team: Team, name: str) -> None:
        key, teams = team_key(name), col(TeamName.team_id)
        # Its own earlier name, or that of a team which the caller has deleted: as its owner they said who was in it anyway.
        mine = select(Team.id).where(
            or_(col(Team.id) == team.id, col(Team.deleted_by) == self.caller.id)
        )
        takes = update(TeamName).where(col(TeamName.name) == key, teams.in_(mine))
        if self.session.execute(takes.values(team_id=team.id)).rowcount:  # type: ignore[attr-defined]
            return
        try:
            with self.session.begin_nested():
                self.session.add(TeamName(name=key, team_id=team.id))
        except IntegrityError:
            raise Conflict(
                f"{name} is, or once was, the name of a team: take another one."
            ) from None

    def _user_id(self, email: str) -> str:
        found = self.session.exec(select(User.id).where(User.email == email)).first()
        if found is None:
            raise NotFound(f"Nobody has the address {email}: they register first.")
        return found

    def _require_another_owner(self, member: TeamMember) -> None:
        if member.role is not TeamRole.OWNER:
            return
        others = select(TeamMember.user_id).where(
            TeamMember.team_id == member.team_id,
            TeamMember.role == TeamRole.OWNER,
            TeamMember.user_id != member.user_id,
        )
        if self.session.exec(others.limit(1)).first() is None:
            raise Conflict(LAST_OWNER)

    def _require_room_for_own(self) -> None:
        if self._count_teams(self.caller.id, made_by_others=False) >= MAX_TEAMS:
            raise Conflict(
                f"You have made {MAX_TEAMS} teams and are in them: delete or leave one of them first."
            )

    def _require_room_for(self, user_id: str, email: str, team: Team) -> None:
        # Those made by others are counted for themselves: nobody keeps somebody from making teams by letting them into theirs.
        by_others = team.created_by != user_id
        if self._count_teams(user_id, made_by_others=by_others) >= MAX_TEAMS:
            raise Conflict(
                f"{email} is in {MAX_TEAMS} teams like this one, and cannot be in more: they can leave one of them."
            )

    def _count_teams(self, user_id: str, *, made_by_others: bool) -> int:
        maker = col(Team.created_by)
        made = maker != user_id if made_by_others else maker == user_id
        query = (
            select(func.count())
            .select_from(TeamMember)
            .join(Team, col(Team.id) == TeamMember.team_id)
        )
        return self.session.exec(query.where(col(TeamMember.user_id) == user_id, made)).one()

    def _require_room_in(self, team: Team) -> None:
        query = select(func.count()).where(col(TeamMember.team_id) == team.id)
        if self.session.exec(query).one() >= MAX_MEMBERS:
            raise Conflict(f"The team has {MAX_MEMBERS} members, and cannot have more.")

    def _record(self, action: str, team: Team, **details: str) -> None:
        record(self.session, self.caller, Change(action, "team", team.id, team.id, details))


def _form(team: Team, role: TeamRole) -> TeamForm:
    return TeamForm(id=team.id, name=team.name, role=role, created_at=team.created_at)
