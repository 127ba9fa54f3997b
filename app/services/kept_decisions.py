"""Approvals of an earlier run, which a replay from a later step would keep."""

from sqlmodel import Session

from app.core.errors import PermissionDenied
from app.core.permissions import TeamRole
from app.engine.controls.kept_decisions import kept_decisions
from app.models import Workflow
from app.services.access import owner_role
from app.services.callers import Caller


def require_right_to_keep(
    session: Session, caller: Caller, workflow: Workflow, replay_id: str
) -> None:
    """Do nothing when a replay that was just made keeps no decision, or its maker could leave the approval out as well.

    Raises:
        PermissionDenied: what was approved for one run would let another one do it again.
    """
    role = owner_role(caller, workflow.owner_id)
    if role is not None and role.includes(TeamRole.EDITOR):
        return
    if kept := kept_decisions(session.connection(), replay_id):
        raise PermissionDenied(
            f"What people decided in step {kept[0]} counts for the earlier run: replay from there, from before it, or all of it. "
            "From behind an approval, the owner and editors in the owning team replay."
        )
