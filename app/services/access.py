"""Who may do what with which object.

The role on an object is the highest of these: its owner is a user (`owner`), or a team (the role of its member), and its
workflow may be shared with the caller or one of their teams. A run has the owner that its workflow had at its start; whoever
has a role on the workflow has it on the runs as well. What one has no role on is NotFound, just as what there is not; what
needs a higher role than one has is PermissionDenied.
"""

from collections.abc import Collection, Mapping

from sqlmodel import Session, col, select

from app.core.errors import NotFound, PermissionDenied
from app.core.ids import parse_id
from app.core.permissions import TeamRole, highest
from app.engine.evidence.run_context import may_read
from app.models import Run, Team, TeamName, Workflow, WorkflowShare
from app.schemas.team import team_key
from app.services.callers import Caller
from app.services.owners import owner_of


def require(
    session: Session, caller: Caller, thing: Workflow | Run | None, role: TeamRole, unknown: str
) -> None:
    """Do nothing when the caller has a role on an object; `unknown` is what whoever may not see it is told.

    Raises:
        NotFound: there is none, or they have no role on it.
        PermissionDenied: they have another role; the sentence says who can change that.
    """
    has = None if thing is None else role_on(session, caller, thing)
    if thing is None or has is None:
        raise NotFound(unknown)
    if not has.includes(role):
        giver = owner_of(session, thing.owner_id).who_gives_roles
        raise PermissionDenied(refusal(role, has, giver))


def require_workflow(
    session: Session, caller: Caller, workflow_id: str, role: TeamRole, *, hold: bool = False
) -> Workflow:
    """Return a workflow on which the caller has a role; `hold`: nobody else changes it before the commit.

    Raises:
        NotFound: there is none, or they have no role on it.
        PermissionDenied: they have another role.
    """
    found = session.get(Workflow, workflow_id, with_for_update=hold or None)
    workflow = None if found is None or found.deleted_at is not None else found
    unknown = f"There is no workflow {workflow_id}, or it is not yours."
    require(session, caller, workflow, role, unknown)
    assert workflow is not None  # noqa: S101 - `require` has refused it
    return workflow


def require_run(session: Session, caller: Caller, run_id: str, role: TeamRole) -> Run:
    """Return a run on which the caller has a role, to do something with it; it outlives its workflow.

    Raises:
        NotFound: there is none, or they have no role on it.
        PermissionDenied: they have another role.
    """
    run = session.get(Run, run_id)
    require(session, caller, run, role, f"There is no run {run_id}, or it is not yours.")
    assert run is not None  # noqa: S101 - `require` has refused it
    return run


def require_readable_run(session: Session, caller: Caller, run_id: str) -> Run:
    """Return a run that the caller may read: they have a role on it, or its legal basis names them.

    Raises:
        NotFound: there is none, or it is neither.
    """
    run = session.get(Run, run_id)
    if run is not None and may_read(run.context, caller.email):
        return run
    return require_run(session, caller, run_id, TeamRole.VIEWER)


def require_team(
    session: Session, caller: Caller, team: str, role: TeamRole, *, hold: bool = False
) -> Team:
    """Return a team, by its id or a name, in which the caller has a role; `hold`: nobody else changes it, or counts what
    it has, before the commit.

    Raises:
        NotFound: there is none, or they are not in it.
        PermissionDenied: they have a lower role there.
    """
    named = select(TeamName.team_id).where(TeamName.name == team_key(team))
    team_id = parse_id(team) or session.exec(named).first()
    has = None if team_id is None else caller.teams.get(team_id)
    if has is None:
        raise NotFound(unknown_team(team))
    found = session.get_one(Team, team_id, with_for_update={"key_share": True} if hold else None)
    if found.deleted_at is not None:
        raise NotFound(unknown_team(team))
    if not has.includes(role):
        raise PermissionDenied(refusal(role, has, f"an owner of the team {found.name}"))
    return found


def role_on(session: Session, caller: Caller, thing: Workflow | Run) -> TeamRole | None:
    """Return the caller's role on a workflow or a run; None: they may not even see it."""
    if isinstance(thing, Workflow):
        return role_at(session, caller, thing.owner_id, thing.id)
    role = owner_role(caller, thing.owner_id)
    if role is TeamRole.OWNER:
        return role
    workflow = session.get(Workflow, thing.workflow_id)
    if workflow is None:
        return role
    return highest(role, role_at(session, caller, workflow.owner_id, workflow.id))


def role_at(session: Session, caller: Caller, owner_id: str, workflow_id: str) -> TeamRole | None:
    """Return the caller's role on a workflow of an owner."""
    role = owner_role(caller, owner_id)
    if role is TeamRole.OWNER:
        return role
    return highest(role, shared_roles(session, caller, [workflow_id]).get(workflow_id))


def owner_role(caller: Caller, owner_id: str) -> TeamRole | None:
    """Return the caller's role on whatever an owner owns."""
    return TeamRole.OWNER if owner_id == caller.id else caller.teams.get(owner_id)


def shared_roles(
    session: Session, caller: Caller, workflow_ids: Collection[str] | None = None
) -> Mapping[str, TeamRole]:
    """Return the workflows (of these, or all) that are shared with the caller or their teams, and in which role."""
    granted = col(WorkflowShare.grantee_id).in_(caller.owners)
    query = select(col(WorkflowShare.workflow_id), col(WorkflowShare.role)).where(granted)
    if workflow_ids is not None:
        query = query.where(col(WorkflowShare.workflow_id).in_(workflow_ids))
    found: dict[str, TeamRole] = {}
    for workflow_id, role in session.exec(query):
        found[workflow_id] = highest(role, found.get(workflow_id)) or role
    return found


def unknown_team(team: str) -> str:
    """Return the sentence for whoever names a team that they are not in."""
    return f"There is no team {team}, or you are not in it."


def refusal(needed: TeamRole, has: TeamRole, giver: str) -> str:
    """Return the sentence for somebody whose role is too low."""
    return (
        f"This needs the role `{needed}`, and yours is `{has}`: {giver} can give you another one."
    )
