"""What callers may do: scopes, which platform roles grant and API keys narrow, and the roles that teams give.

Two questions are asked of every request: may this caller do such a thing at all (a `Scope`, which each route declares), and
may they do it to this object (a `TeamRole`, which `app.services.access` finds)?
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from app.core.statuses import Role


class Scope(StrEnum):
    """One kind of thing that a caller may do."""

    ACCOUNT_READ = "account:read"
    """See who I am, my API keys and sessions."""
    ACCOUNT_WRITE = "account:write"
    """Change my password, my API keys and sessions."""
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_WRITE = "workflows:write"
    """Save, change, share and delete workflows and their schedules."""
    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    """Start runs; pause, resume, cancel, retry and replay them."""
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WRITE = "approvals:write"
    """Decide what I am asked, and make one-time links."""
    CREDENTIALS_READ = "credentials:read"
    """See which credentials there are; never what they hold."""
    CREDENTIALS_WRITE = "credentials:write"
    TEAMS_READ = "teams:read"
    TEAMS_WRITE = "teams:write"
    OPERATIONS_READ = "operations:read"
    """See what the whole platform does: its state, kill switches and policies."""
    SWITCHES_WRITE = "switches:write"
    """Stop things, and let them go on."""
    POLICIES_WRITE = "policies:write"
    AUDIT_READ = "audit:read"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    """Invite people, give roles, and close accounts."""


_READER: Final = frozenset(
    {
        Scope.ACCOUNT_READ,
        Scope.ACCOUNT_WRITE,
        Scope.WORKFLOWS_READ,
        Scope.RUNS_READ,
        Scope.EVENTS_READ,
        Scope.APPROVALS_READ,
        Scope.APPROVALS_WRITE,
        Scope.CREDENTIALS_READ,
        Scope.TEAMS_READ,
    }
)
_MEMBER: Final = _READER | {
    Scope.WORKFLOWS_WRITE,
    Scope.RUNS_WRITE,
    Scope.EVENTS_WRITE,
    Scope.CREDENTIALS_WRITE,
    Scope.TEAMS_WRITE,
}
_OPERATOR: Final = _MEMBER | {
    Scope.OPERATIONS_READ,
    Scope.SWITCHES_WRITE,
    Scope.AUDIT_READ,
    Scope.USERS_READ,
}
SCOPES_OF: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.VIEWER: _READER,
    Role.MEMBER: _MEMBER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: frozenset(Scope),
}
"""What each platform role may do at all."""


class TeamRole(StrEnum):
    """What a member may do with what their team owns, or somebody with a workflow that is shared with them."""

    VIEWER = "viewer"
    """Read workflows, runs and their history."""
    RUNNER = "runner"
    """And start, pause, resume, cancel, retry and replay runs."""
    EDITOR = "editor"
    """And save and change workflows, schedules and credentials."""
    OWNER = "owner"
    """And delete and share workflows, and say who is in the team."""

    def includes(self, other: "TeamRole") -> bool:
        """Tell whether this role may do whatever the other may."""
        order = [*TeamRole]
        return order.index(self) >= order.index(other)
