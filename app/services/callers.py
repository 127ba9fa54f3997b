"""Who is calling: an account, with what it may do by its role, its teams, and the key that it came with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.errors import PermissionDenied
from app.core.permissions import SCOPES_OF, Scope, TeamRole
from app.core.statuses import Role
from app.models import User


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
    session_id: str | None = None
    """The session of their access token."""

    @property
    def owners(self) -> frozenset[str]:
        """Return the ids of whose things they may at least see: their own, and those of their teams."""
        return frozenset({self.id, *self.teams})

    def require_login(self) -> None:
        """Do nothing when they have logged in themselves.

        Raises:
            PermissionDenied: they came with an API key, which must not get more than it has.
        """
        if self.api_key_id is not None:
            raise PermissionDenied("An API key may not do this: log in and send an access token.")

    def require(self, scope: Scope) -> None:
        """Do nothing when they may do such a thing at all.

        Raises:
            PermissionDenied: they may not; the sentence says who can change that.
        """
        if scope not in self.scopes:
            raise self.refusal(scope)

    def refusal(self, scope: Scope) -> PermissionDenied:
        """Return what is said to them when they lack a scope."""
        if scope in SCOPES_OF[self.role]:
            return PermissionDenied(
                f"This API key lacks the scope `{scope}`: make one that has it, or log in."
            )
        return PermissionDenied(
            f"This needs the scope `{scope}`, which the role `{self.role}` does not have: an administrator can change your role."
        )


def caller_of(user: User, address: str | None = None) -> Caller:
    """Return an account as a caller who has logged in."""
    return Caller(user.id, user.email, user.role, SCOPES_OF[user.role], address=address)
