"""Approvals of an earlier run, which a replay from a later step would keep."""

from sqlmodel import Session

from app.core.errors import PermissionDenied
from app.core.permissions import TeamRole
from app.engine.controls.store import KEPT_DECISIONS
from app.models import Workflow
from app.services.access import owner_role
from app.services.callers import Caller


def require_right_to_keep(
    session: Session, caller: Caller, workflow: Workflow, run_id: str, replay_id: str
) -> None:
    """Do nothing when a replay that was just made keeps no decision, or its maker could leave the approval out as well.

    Raises:
        PermissionDenied: what was approved for one run would let another one do it again.
    """
    role = owner_role(caller, workflow.owner_id)
    if role is not None and role.includes(TeamRole.EDITOR):
        return
    kept = KEPT_DECISIONS.run(session.connection(), run_id=run_id, replay_id=replay_id)
    if kept:
        raise PermissionDenied(
            f"What people decided in step {kept[0].path} counts for the earlier run: replay from there, from before it, or all of it. "
            "From behind an approval, the owner and editors in the owning team replay."
        )
