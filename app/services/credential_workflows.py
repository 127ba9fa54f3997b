"""Which workflows a credential would be missed by."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import String, cast
from sqlmodel import Session, col, select

from app.core.errors import InvalidDefinition
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import read_definition
from app.models import Workflow, WorkflowVersion


def workflows_using(
    session: Session, catalogue: NodeCatalogue, owner_id: str, name: str, at_most: int
) -> Sequence[tuple[str, str]]:
    """Return id and name of the owner's enabled workflows whose newest version names a credential."""
    found: list[tuple[str, str]] = []
    for workflow_id, workflow_name, definition in _candidates(session, owner_id, name):
        if len(found) < at_most and _uses(definition, name, catalogue):
            found.append((workflow_id, workflow_name))
    return found


def _candidates(session: Session, owner_id: str, name: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the workflows in whose definition the name stands anywhere."""
    newest = (col(WorkflowVersion.workflow_id) == col(Workflow.id)) & (
        col(WorkflowVersion.version) == col(Workflow.version)
    )
    query = (
        select(Workflow.id, Workflow.name, WorkflowVersion.definition)
        .join(WorkflowVersion, newest)
        .where(
            Workflow.owner_id == owner_id,
            col(Workflow.enabled),
            col(Workflow.deleted_at).is_(None),
            cast(col(WorkflowVersion.definition), String).contains(name, autoescape=True),
        )
        .order_by(col(Workflow.id))
    )
    yield from session.exec(query)


def _uses(definition: Any, name: str, catalogue: NodeCatalogue) -> bool:
    try:
        plan, _ = read_definition(definition, catalogue)
    except InvalidDefinition:
        return True  # it cannot be told any more, so it may
    return any(use.name == name for use in plan.credential_uses)
