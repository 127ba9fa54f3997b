"""Who else may see a workflow, and whose it is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.api.body import GuardedRoute
from app.api.deps import (
    CurrentCaller,
    OpenSession,
    Services,
    WorkflowId,
    needs,
)
from app.api.openapi import BODY_PROBLEMS, problems
from app.core.permissions import Scope
from app.schemas.common import Page
from app.schemas.team import Grantee, ShareDraft, ShareForm, TransferReceipt, TransferRequest
from app.services.sharing import Shares
from app.services.transfers import Transfers
from app.services.workflows import Workflows

router = APIRouter(prefix="/workflows/{workflow_id}", tags=["Teams"], route_class=GuardedRoute)


async def get_shares(container: Services, caller: CurrentCaller, session: OpenSession) -> Shares:
    """Return what the caller may do about who sees their workflows."""
    return Shares(session, caller, container.clock)


async def get_transfers(
    container: Services, caller: CurrentCaller, session: OpenSession
) -> Transfers:
    """Return what the caller may do to let go of workflows: what is another's afterwards passes no wall around the caller."""
    return Transfers(
        Workflows(session, caller, container.catalogue, container.clock, container.webhook_secrets)
    )


UserTransfers = Annotated[Transfers, Depends(get_transfers)]
UserShares = Annotated[Shares, Depends(get_shares)]


@router.get(
    "/shares",
    dependencies=[needs(Scope.WORKFLOWS_READ)],
    summary="Whom a workflow is shared with",
    responses=problems(401, 404),
)
def list_shares(workflow_id: WorkflowId, shares: UserShares) -> Page[ShareForm]:
    """Return the people and teams that a workflow is shared with, the first one first."""
    return Page(items=list(shares.list(workflow_id)), next_cursor=None)


@router.put(
    "/shares",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Share a workflow",
    responses=problems(401, 404, 409, *BODY_PROBLEMS),
)
def share_workflow(workflow_id: WorkflowId, form: ShareDraft, shares: UserShares) -> ShareForm:
    """Share a workflow with a person or a team, or give them another role on it.

    An editor decides what the workflow does with its owner's credentials: choose them with care.
    """
    return shares.put(workflow_id, form)


@router.delete(
    "/shares",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    status_code=204,
    summary="Share a workflow no longer",
    responses=problems(401, 404, 422),
)
def unshare_workflow(
    workflow_id: WorkflowId, wanted: Annotated[Grantee, Query()], shares: UserShares
) -> None:
    """Take back what a person (`?user=`) or a team (`?team=`) was given."""
    shares.delete(workflow_id, wanted)


@router.post(
    "/transfer",
    dependencies=[needs(Scope.WORKFLOWS_WRITE)],
    summary="Give a workflow to another owner",
    responses=problems(401, 404, 409, *BODY_PROBLEMS),
)
def transfer_workflow(
    workflow_id: WorkflowId, form: TransferRequest, transfers: UserTransfers
) -> TransferReceipt:
    """Give a workflow, with its schedules, to a team in which I am editor, or to another person.

    From then on its runs use the new owner's credentials, events and workflows; what would not hold there is refused (409).
    Shares end. Another person finds it disabled, and enables it when they have read it.
    """
    return transfers.transfer(workflow_id, form)
