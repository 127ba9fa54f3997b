"""Ask people: the part of a checkpoint that concerns steps which wait for an approval."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from app.engine.approvals import store
from app.engine.evidence.canonical import sha256_of
from app.engine.followups import Followups

if TYPE_CHECKING:
    from app.engine.waiting.opening import OpenedWait


def open_approvals(connection: Connection, opened: Sequence["OpenedWait"]) -> Followups:
    """Write down what is asked, and who is; written twice it is the same as once."""
    rows = [_row(wait) for wait in opened]
    store.ASK.run(connection, rows)
    approvers = [
        {"approval_id": row["id"], "approver": approver}
        for row in rows
        for approver in row["approvers"]
    ]
    store.ADD_APPROVERS.run(connection, approvers)
    return Followups()


def _row(wait: "OpenedWait") -> dict[str, Any]:
    data, state, facts = wait.suspended.data, wait.state, wait.checkpoint.facts
    shown = {
        "id": data["approval_id"],
        "workflow_id": facts.workflow_id,
        "run_id": wait.checkpoint.run_id,
        "step": state.path,
        "prompt": data["prompt"],
        "form": data["form"],
    }
    until = data.get("until")
    return {
        "id": data["approval_id"],
        "owner_id": facts.owner_id,
        "workflow_id": facts.workflow_id,
        "run_id": wait.checkpoint.run_id,
        "path": state.path,
        "attempt": state.attempt,
        **{name: data[name] for name in _TAKEN_OVER},
        "requested_by": facts.started_by,
        "shown_hash": sha256_of(shown),
        "due_at": None if until is None else datetime.fromisoformat(until),
        "created_at": state.started_at,
    }


_TAKEN_OVER: Sequence[str] = (
    "prompt",
    "form",
    "approvers",
    "min_approvals",
    "reject_quorum",
    "allow_self",
    "on_reject",
    "timeout_action",
    "timeout_seconds",
    "escalate_to",
)
