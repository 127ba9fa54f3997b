"""Who counts as having started the run that an approval asks about, and so does not decide on it."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, not_, or_
from sqlmodel import Session, col, select

from app.core.permissions import TeamRole
from app.engine.approvals.rules import Asked
from app.engine.planning.record import POLICY
from app.models import Approval, ApprovalDecision, StepAttempt, Workflow, WorkflowShare
from app.services.callers import Caller


def asked_by_policy(session: Session, asked: Asked) -> bool:
    """Tell whether a policy asks for an approval, and not a step itself."""
    step = session.get(StepAttempt, (asked.run_id, asked.path, asked.attempt))
    return step is not None and POLICY in (step.wait or {})


def may_have_started(session: Session, caller: Caller, asked: Asked) -> bool:
    """Tell whether a policy asks about a run of which nobody knows who started it, and it may have been the caller.

    Whoever edits one of the owner's workflows may know a webhook's token, or let that workflow start this one.
    """
    if asked.requested_by is not None or asked.owner_id not in _edited_owners(session, caller):
        return False
    return asked_by_policy(session, asked)


def still_mine(session: Session, caller: Caller) -> ColumnElement[bool]:
    """Return what holds for those approvals that ask the caller, and on which they can still decide."""
    done = exists().where(
        col(ApprovalDecision.approval_id) == Approval.id, col(ApprovalDecision.by) == caller.email
    )
    others = or_(
        and_(col(Approval.requested_by).is_(None), not_(_by_policy_of(session, caller))),
        col(Approval.requested_by) != caller.email,
        col(Approval.allow_self),
    )
    return and_(~done, others)


def _by_policy_of(session: Session, caller: Caller) -> ColumnElement[bool]:
    wait: Any = col(StepAttempt.wait)
    asks = exists().where(
        col(StepAttempt.run_id) == Approval.run_id,
        col(StepAttempt.path) == Approval.path,
        col(StepAttempt.attempt) == Approval.attempt,
        wait[POLICY].as_string().is_not(None),
    )
    return and_(col(Approval.owner_id).in_(_edited_owners(session, caller)), asks)


def _edited_owners(session: Session, caller: Caller) -> Collection[str]:
    """Return the owners of workflows that the caller may edit: themselves, their teams, and by shares."""
    teams = [team for team, role in caller.teams.items() if role.includes(TeamRole.EDITOR)]
    shared = (
        select(Workflow.owner_id)
        .join(WorkflowShare, col(WorkflowShare.workflow_id) == Workflow.id)
        .where(col(WorkflowShare.grantee_id).in_(caller.owners))
        .where(WorkflowShare.role == TeamRole.EDITOR)
        .distinct()
    )
    return {caller.id, *teams, *session.exec(shared)}
