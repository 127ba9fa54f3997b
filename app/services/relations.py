"""What a run is linked with: who has started it, what it has started, and what its end calls."""

from typing import Any

from sqlmodel import Session, col, select

from app.models import HookCall, Run
from app.schemas.hook import HookCallForm, ParentForm
from app.schemas.run import ChildForm

MAX_CHILDREN = 1_000


def relations_of(session: Session, run: Run, *, with_hooks: bool) -> dict[str, Any]:
    """Return the fields `parent`, `children` and `hook_calls` of a run's form.

    The addresses of hooks are for those with a role on the run: whoever knows one can often write there.
    """
    parent = run.parent_run_id
    return {
        "parent": ParentForm(run_id=parent, step=run.parent_path) if parent else None,
        "children": _children_of(session, run.id),
        "hook_calls": _calls_of(session, run.id) if with_hooks else [],
    }


def _children_of(session: Session, run_id: str) -> list[ChildForm]:
    query = (
        select(Run.id, Run.workflow_id, Run.parent_path, Run.status)
        .where(Run.parent_run_id == run_id)
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
