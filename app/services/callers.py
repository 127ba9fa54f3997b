"""Who is calling: an account, with what it may do by its role, its teams, and the key that it came with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlmodel import col, select

from app.core.errors import NotAuthenticated, PermissionDenied
from app.core.permissions import SCOPES_OF, Scope, TeamRole
from app.core.security.tokens import TokenClaims
from app.core.statuses import Role
from app.db.session import transaction
from app.models import TeamMember, User


@dataclass(frozen=True, slots=True)
class Caller:
    """An account that has proved who it is, as it stands at this request."""

    id: str
    email: str
    role: Role
    scopes: frozenset[Scope]
    """What the role grants, narrowed by the API key if there is one."""
    teams: Mapping[str, TeamRole] = field(default_factory=dict)
    """The role in each team, by the team's id."""
    api_key_id: str | None = None
    """None: they came with an access token."""
    address: str | None = None
    """Where the request came from."""

    @property
    def owners(self) -> frozenset[str]:
        """Return the ids of whose things they may at least see: their own, and those of their teams."""
        return frozenset({self.id, *self.teams})

    def require(self, scope: Scope) -> None:
        """Do nothing when they may do such a thing at all.

        Raises:
            PermissionDenied: they may not; the sentence says who can change that.
        """
        if scope in self.scopes:
            return
        if scope in SCOPES_OF[self.role]:
            raise PermissionDenied(
                f"This API key lacks the scope `{scope}`: make one that has it, or log in."
            )
        raise PermissionDenied(
            f"This needs the scope `{scope}`, which the role `{self.role}` does not have: an administrator can change your role."
        )


def caller_of(
    user: User, address: str | None = None, teams: Mapping[str, TeamRole] | None = None
) -> Caller:
    """Return an account as a caller who has logged in."""
    return Caller(user.id, user.email, user.role, SCOPES_OF[user.role], teams or {}, None, address)


def find_caller(engine: Engine, claims: TokenClaims, address: str | None = None) -> Caller:
    """Return whom a token stands for, with the teams that they are in now.

    Raises:
        NotAuthenticated: the account is gone, or has ended its older tokens.
    """
    membership = col(TeamMember.user_id) == User.id
    query = select(User, TeamMember).join(TeamMember, membership, isouter=True)
    with transaction(engine) as session:
        rows: Sequence[tuple[User, TeamMember | None]] = session.exec(
            query.where(User.id == claims.user_id)
        ).all()
    if not rows or rows[0][0].token_version != claims.token_version:
        raise NotAuthenticated("The access token is no longer valid: log in again.")
    teams = {member.team_id: member.role for _, member in rows if member is not None}
    return caller_of(rows[0][0], address, teams)
