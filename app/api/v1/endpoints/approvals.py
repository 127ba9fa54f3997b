"""People decide: an inbox, decisions, and one-time links for whoever has no account."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.body import GuardedRoute
from app.api.deps import ApprovalId, Cursor, Limit, OpenLinks, UserApprovals, needs
from app.api.openapi import BODY_PROBLEMS, problems
from app.api.v1.links import BaseUrl
from app.core.permissions import Scope
from app.core.statuses import ApprovalStatus
from app.schemas.approval import (
    ApprovalForm,
    DecisionRequest,
    LinkDecision,
    LinkedApproval,
    LinkForm,
    LinkRequest,
)
from app.schemas.common import Page
from app.services.pages import DEFAULT_LIMIT

LINKS = "/approvals/links"
Token = Annotated[str, Path(max_length=200, description="The last part of the link.")]
links = APIRouter(prefix=LINKS, tags=["Approvals"], route_class=GuardedRoute)
"""Public: whoever has the token may call."""
router = APIRouter(
    prefix="/approvals",
    tags=["Approvals"],
    route_class=GuardedRoute,
)


@links.get("/{token}", summary="See what a link asks", responses=problems(404, 409, 422))
def show_link(token: Token, open_links: OpenLinks) -> LinkedApproval:
    """Return what is asked. Looking decides nothing, so mail programs may fetch it."""
    return open_links.show(token)


@links.post(
    "/{token}", summary="Decide by a link", responses=problems(403, 404, 409, *BODY_PROBLEMS)
)
def decide_by_link(token: Token, form: LinkDecision, open_links: OpenLinks) -> LinkedApproval:
    """Approve or reject as the approver for whom the link was made. It works once."""
    return open_links.decide(token, form)


@router.get(
    "",
    dependencies=[needs(Scope.APPROVALS_READ)],
    summary="What I am asked",
    responses=problems(401, 422),
)
def list_approvals(
    approvals: UserApprovals,
    status: Annotated[
        ApprovalStatus | None, Query(description="Only those that stand here.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ApprovalForm]:
    """Return approvals that name me, by e-mail address or role, newest first; `?status=pending` is what is mine to decide."""
    found, next_cursor = approvals.list(status, limit, cursor)
    return Page(items=list(found), next_cursor=next_cursor)


@router.get(
    "/{approval_id}",
    dependencies=[needs(Scope.APPROVALS_READ)],
    summary="Read an approval",
    responses=problems(401, 404),
)
def read_approval(approval_id: ApprovalId, approvals: UserApprovals) -> ApprovalForm:
    """Return an approval that I am asked, or that a run of mine waits for, with the decisions so far."""
    return approvals.get(approval_id)


@router.post(
    "/{approval_id}/approve",
    dependencies=[needs(Scope.APPROVALS_WRITE)],
    summary="Approve",
    responses=problems(401, 403, 404, 409, *BODY_PROBLEMS),
)
def approve(
    approval_id: ApprovalId, approvals: UserApprovals, form: DecisionRequest | None = None
) -> ApprovalForm:
    """Approve, once. With `min_approvals` of them the run goes on.

    Who is no approver, or has started the run (unless `allow_self`), gets 403; once decided or expired it is 409.
    """
    return approvals.decide(approval_id, ApprovalStatus.APPROVED, form or DecisionRequest())


@router.post(
    "/{approval_id}/reject",
    dependencies=[needs(Scope.APPROVALS_WRITE)],
    summary="Reject",
    responses=problems(401, 403, 404, 409, *BODY_PROBLEMS),
)
def reject(
    approval_id: ApprovalId, approvals: UserApprovals, form: DecisionRequest | None = None
) -> ApprovalForm:
    """Reject, once. Unless the step asks for more (`reject_quorum`), one rejection decides."""
    return approvals.decide(approval_id, ApprovalStatus.REJECTED, form or DecisionRequest())


@router.post(
    "/{approval_id}/links",
    dependencies=[needs(Scope.APPROVALS_WRITE)],
    status_code=201,
    summary="Make a one-time link",
    responses=problems(401, 403, 404, 409, *BODY_PROBLEMS),
)
def make_link(
    approval_id: ApprovalId, form: LinkRequest, approvals: UserApprovals, base_url: BaseUrl
) -> LinkForm:
    """Make a link by which one of the approvers decides without an account. Whoever has it decides in their name."""
    token, expires_at = approvals.make_link(approval_id, form)
    return LinkForm(url=f"{base_url}/api/v1{LINKS}/{token}", expires_at=expires_at)
