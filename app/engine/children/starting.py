"""Make the runs that steps have ordered, in the commit of their attempts' results."""

from collections.abc import Mapping
from typing import Any

from app.core.statuses import TriggerKind
from app.engine.checkpoint import RunFacts
from app.engine.intake import NewRun


def child_run(parent_id: str, path: str, facts: RunFacts, order: Mapping[str, Any]) -> NewRun:
    """Return the run that a step has ordered. Its id was made with the order, so that written twice it is one run."""
    return NewRun(
        owner_id=facts.owner_id,
        workflow_id=order["workflow_id"],
        version_id=order["version_id"],
        version=order["version"],
        trigger=TriggerKind.RUN,
        input=order["input"],
        idempotency_key=f"run:{order['id']}",
        context=order["context"],
        id=order["id"],
        depth=facts.depth + 1,
        parent_run_id=parent_id,
        parent_path=path,
        started_by=facts.started_by,
    )
