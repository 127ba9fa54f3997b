"""Who may see what. Absent, deleted and another owner's all answer the same: NotFound."""

from sqlmodel import Session

from app.core.errors import NotFound
from app.engine.evidence.run_context import may_read
from app.models import Run, Workflow
from app.services.callers import Caller


def require_workflow(session: Session, caller: Caller, workflow_id: str) -> Workflow:
    """Return a workflow of this user.

    Raises:
        NotFound: there is none, or it is not theirs.
    """
    workflow = session.get(Workflow, workflow_id)
    if workflow is None or workflow.owner_id != caller.id or workflow.deleted_at is not None:
        raise NotFound(f"There is no workflow {workflow_id}, or it is not yours.")
    return workflow


def require_run(session: Session, caller: Caller, run_id: str) -> Run:
    """Return a run of this user, to do something with it; it outlives its workflow.

    Raises:
        NotFound: there is none, or it is not theirs.
    """
    run = session.get(Run, run_id)
    if run is None or run.owner_id != caller.id:
        raise NotFound(f"There is no run {run_id}, or it is not yours.")
    return run


def require_readable_run(session: Session, caller: Caller, run_id: str) -> Run:
    """Return a run that this user may read: their own, or one whose legal basis names them.

    Raises:
        NotFound: there is none, or it is neither.
    """
    run = session.get(Run, run_id)
    if run is None or (run.owner_id != caller.id and not may_read(run.context, caller.email)):
        raise NotFound(f"There is no run {run_id}, or it is not yours.")
    return run
