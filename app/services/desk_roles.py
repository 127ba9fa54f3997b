"""Roles of whoever triggers runs and publishes events: read for a whole batch in its transaction, and only where one is needed."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, String

from app.core.errors import AutomateError, NotFound, PermissionDenied
from app.core.ids import parse_id
from app.core.permissions import TeamRole, highest
from app.db.statement import Statement
from app.db.types import Id, Status
from app.schemas.team import team_key
from app.services.access import refusal, unknown_team

Asker = tuple[str, str, str]
"""Who, of which workflow, of which owner."""

# The roles of people on workflows that are not their own: as members of the owning team, and by shares.
LOAD_ROLES = Statement(
    """
    SELECT v.user_id, v.workflow_id, m.role FROM {rows}
    JOIN team_members m ON m.team_id = v.owner_id AND m.user_id = v.user_id
    UNION ALL
    SELECT v.user_id, v.workflow_id, s.role FROM {rows}
    JOIN workflow_shares s ON s.workflow_id = v.workflow_id AND s.grantee_id = v.user_id
    UNION ALL
    SELECT v.user_id, v.workflow_id, s.role FROM {rows}
    JOIN team_members m ON m.user_id = v.user_id
    JOIN workflow_shares s ON s.workflow_id = v.workflow_id AND s.grantee_id = m.team_id
    """,
    rows={"user_id": "uuid", "workflow_id": "uuid", "owner_id": "uuid"},
    returns={"user_id": Id(), "workflow_id": Id(), "role": Status(TeamRole)},
)
# The roles of people in teams that they name, by id or name.
LOAD_TEAM_ROLES = Statement(
    """
    SELECT v.user_id, v.team, m.team_id, m.role FROM {rows}
    JOIN team_names n ON n.name = v.name JOIN team_members m ON m.team_id = n.team_id AND m.user_id = v.user_id
    UNION ALL
    SELECT v.user_id, v.team, m.team_id, m.role FROM {rows}
    JOIN team_members m ON m.team_id = v.id AND m.user_id = v.user_id
    """,
    rows={"user_id": "uuid", "team": "text", "name": "text", "id": "uuid"},
    returns={"user_id": Id(), "team": String(), "team_id": Id(), "role": Status(TeamRole)},
)


def roles_of(
    connection: Connection, askers: Collection[Asker]
) -> Mapping[tuple[str, str], TeamRole]:
    """Return the roles of people on workflows, by user and workflow."""
    found = {(user, workflow): TeamRole.OWNER for user, workflow, owner in askers if user == owner}
    others = [
        {"user_id": user, "workflow_id": workflow, "owner_id": owner}
        for user, workflow, owner in askers
        if user != owner
    ]
    for row in LOAD_ROLES.run(connection, others) if others else ():
        key = row.user_id, row.workflow_id
        found[key] = highest(found.get(key), row.role) or row.role
    return found


def publishing_teams(
    connection: Connection, asks: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], str | AutomateError]:
    """Return the ids of the teams that people name, or why they may not publish there, by user and team as it is named."""
    rows = [
        {"user_id": user, "team": team, "name": team_key(team), "id": parse_id(team)}
        for user, team in asks
    ]
    found: dict[tuple[str, str], str | AutomateError] = {
        (user, team): NotFound(unknown_team(team)) for user, team in asks
    }
    for row in LOAD_TEAM_ROLES.run(connection, rows) if rows else ():
        may = row.role.includes(TeamRole.RUNNER)
        denied = PermissionDenied(refusal(TeamRole.RUNNER, row.role, "an owner of the team"))
        found[row.user_id, row.team] = row.team_id if may else denied
    return found
