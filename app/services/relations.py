"""What a run is linked with: who has started it, what it has started, and what its end calls."""

from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from app.models import HookCall, Run
from app.schemas.hook import HookCallForm, ParentForm
from app.schemas.run import ChildForm
from app.services.access import role_on, shared_roles
from app.services.callers import Caller

MAX_CHILDREN = 1_000


def relations_of(session: Session, caller: Caller, run: Run) -> dict[str, Any]:
    """Return the fields `parent`, `children` and `hook_calls` of a run's form.

    The addresses of hooks are for those with a role on the run: whoever knows one can often write there. Children are runs of
    other workflows, on which somebody with whom this one is shared may have no role.
    """
    has_role = role_on(session, caller, run) is not None
    parent = run.parent_run_id
    return {
        "parent": ParentForm(run_id=parent, step=run.parent_path) if parent else None,
        "children": _children_of(session, caller, run.id),
        "hook_calls": _calls_of(session, run.id) if has_role else [],
    }


def _children_of(session: Session, caller: Caller, run_id: str) -> list[ChildForm]:
    shared = col(Run.workflow_id).in_(shared_roles(session, caller))
    query = (
        select(Run.id, Run.workflow_id, Run.parent_path, Run.status)
        .where(Run.parent_run_id == run_id, or_(col(Run.owner_id).in_(caller.owners), shared))
        .order_by(col(Run.id))
        .limit(MAX_CHILDREN)
    )
    return [
        ChildForm(run_id=child_id, workflow_id=workflow_id, step=path, status=status)
        for child_id, workflow_id, path, status in session.exec(query)
    ]


def _calls_of(session: Session, run_id: str) -> list[HookCallForm]:
    query = select(HookCall).where(HookCall.run_id == run_id).order_by(col(HookCall.url))
    return [HookCallForm(**row.model_dump(exclude={"run_id"})) for row in session.exec(query)]
