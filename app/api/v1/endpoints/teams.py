"""Teams: people who own workflows together."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    Cursor,
    Limit,
    OpenSession,
    Services,
    needs,
    object_id,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.schemas.auth import login_name
from app.schemas.common import Page
from app.schemas.team import MemberForm, MemberRole, TeamDraft, TeamForm
from app.services.pages import DEFAULT_LIMIT
from app.services.teams import Teams

router = APIRouter(prefix="/teams", tags=["Teams"], route_class=GuardedRoute)


async def get_teams(container: Services, caller: CurrentCaller, session: OpenSession) -> Teams:
    """Return what the caller may do with teams."""
    return Teams(session, caller, container.clock)


async def team_id_in_path(team_id: str) -> str:
    """Return the id in the address; what is no id names nothing.

    Raises:
        NotFound: it is no id.
    """
    return object_id(team_id, "team")


async def email_in_path(
    email: Annotated[str, Path(max_length=320, description="The member's e-mail address.")],
) -> str:
    """Return an address as accounts store it."""
    return login_name(email)


UserTeams = Annotated[Teams, Depends(get_teams)]
TeamId = Annotated[str, Depends(team_id_in_path)]
MemberEmail = Annotated[str, Depends(email_in_path)]


@router.post(
    "",
    dependencies=[needs(Scope.TEAMS_WRITE)],
    status_code=201,
    summary="Make a team",
    responses=problems(401, 409, *BODY_PROBLEMS),
)
def create_team(draft: TeamDraft, teams: UserTeams, response: Response) -> TeamForm:
    """Make a team, with me as its owner. `POST /workflows` with `team` then saves workflows as the team's."""
    made = teams.create(draft.name)
    response.headers["Location"] = f"/api/v1/teams/{made.id}"
    return made


@router.get(
    "",
    dependencies=[needs(Scope.TEAMS_READ)],
    summary="List my teams",
    responses=problems(401, 422),
)
def list_teams(
    teams: UserTeams, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TeamForm]:
    """Return the teams that I am in, newest first, with my role in each."""
    found, next_cursor = teams.list(limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/{team_id}",
    dependencies=[needs(Scope.TEAMS_READ)],
    summary="Read a team",
    responses=problems(401, 404),
)
def read_team(team_id: TeamId, teams: UserTeams) -> TeamForm:
    """Return a team that I am in."""
    return teams.get(team_id)


@router.patch(
    "/{team_id}",
    dependencies=[needs(Scope.TEAMS_WRITE)],
    summary="Rename a team",
    responses=problems(401, 404, 409, *BODY_PROBLEMS),
)
def rename_team(team_id: TeamId, draft: TeamDraft, teams: UserTeams) -> TeamForm:
    """Give a team another name. The earlier one still means it where approvals name it, and is never another team's."""
    return teams.rename(team_id, draft.name)


@router.delete(
    "/{team_id}",
    dependencies=[needs(Scope.TEAMS_WRITE)],
    status_code=204,
    summary="Delete a team",
    responses=problems(401, 404, 409),
)
def delete_team(team_id: TeamId, teams: UserTeams) -> None:
    """Delete a team that owns no workflows any more (409). What its runs have left behind is nobody's to read."""
    teams.delete(team_id)


@router.get(
    "/{team_id}/members",
    dependencies=[needs(Scope.TEAMS_READ)],
    summary="List members",
    responses=problems(401, 404),
)
def list_members(team_id: TeamId, teams: UserTeams) -> Page[MemberForm]:
    """Return everybody who is in a team, by e-mail address."""
    return Page(items=list(teams.members(team_id)), next_cursor=None)


@router.put(
    "/{team_id}/members/{email}",
    dependencies=[needs(Scope.TEAMS_WRITE)],
    summary="Let somebody in, or give them another role",
    responses=problems(401, 404, 409, *BODY_PROBLEMS),
)
def set_member(
    team_id: TeamId, email: MemberEmail, form: MemberRole, teams: UserTeams
) -> MemberForm:
    """Let somebody who has an account into a team, or give a member another role. A team keeps at least one owner (409)."""
    return teams.set_member(team_id, email, form.role)


@router.delete(
    "/{team_id}/members/{email}",
    dependencies=[needs(Scope.TEAMS_READ)],
    status_code=204,
    summary="Take somebody out, or leave",
    responses=problems(401, 404, 409),
)
def remove_member(team_id: TeamId, email: MemberEmail, teams: UserTeams) -> None:
    """Take somebody out of a team (scope `teams:write`). Everybody who has logged in may leave, apart from the last owner (409)."""
    teams.remove_member(team_id, email)
