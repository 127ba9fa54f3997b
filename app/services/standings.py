"""Whose workflows are, and what their reader may do with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from app.core.permissions import TeamRole, highest
from app.models import Workflow
from app.services.access import owner_role, shared_roles
from app.services.callers import Caller
from app.services.owners import Owner, owners_of


@dataclass(frozen=True, slots=True)
class Standing:
    """Whose a workflow is, and the caller's role on it."""

    owner: Owner
    role: TeamRole


def standings_of(
    session: Session, caller: Caller, workflows: Sequence[Workflow]
) -> Sequence[Standing]:
    """Return the standings of workflows that the caller may see, in their order."""
    owners = owners_of(session, [workflow.owner_id for workflow in workflows])
    shared = shared_roles(session, caller, [workflow.id for workflow in workflows])
    standings = []
    for workflow in workflows:
        role = highest(owner_role(caller, workflow.owner_id), shared.get(workflow.id))
        standings.append(Standing(owners[workflow.owner_id], role or TeamRole.VIEWER))
    return standings
