"""All SQL of approvals. Whoever changes one locks its run first, as everybody does who ends a wait."""

from sqlalchemy import Boolean, Float, Integer, String

from app.core.statuses import ApprovalStatus
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime

STEP = {"run_id": "uuid", "path": "text", "attempt": "integer"}
# Named as the fields of `rules.Asked`.
COLUMNS = {
    "id": Id(),
    "owner_id": Id(),
    "run_id": Id(),
    "path": String(),
    "attempt": Integer(),
    "status": Status(ApprovalStatus),
    "prompt": String(),
    "form": Json,
    "approvers": Json,
    "min_approvals": Integer(),
    "reject_quorum": Integer(),
    "allow_self": Boolean(),
    "requested_by": String(),
    "shown_hash": String(),
    "on_reject": String(),
    "timeout_action": String(),
    "timeout_seconds": Float(),
    "escalate_to": Json,
    "escalated_at": UtcDateTime(),
    "due_at": UtcDateTime(),
}

# Ask, in the commit that suspends the step.
ASK = Statement(
    """
    INSERT INTO approvals (id, owner_id, workflow_id, run_id, path, attempt, status, prompt, form, approvers,
                           min_approvals, reject_quorum, allow_self, requested_by, shown_hash, on_reject, timeout_action,
                           timeout_seconds, escalate_to, due_at, created_at)
    SELECT id, owner_id, workflow_id, run_id, path, attempt, 'pending', prompt, form, approvers,
           min_approvals, reject_quorum, allow_self, requested_by, shown_hash, on_reject, timeout_action,
           timeout_seconds, escalate_to, due_at, created_at
    FROM {rows} WHERE true ON CONFLICT DO NOTHING
    """,
    rows={
        "id": "uuid",
        **STEP,
        "owner_id": "uuid",
        "workflow_id": "uuid",
        "prompt": "text",
        "form": "json",
        "approvers": "json",
        "min_approvals": "integer",
        "reject_quorum": "integer",
        "allow_self": "boolean",
        "requested_by": "text",
        "shown_hash": "text",
        "on_reject": "text",
        "timeout_action": "text",
        "timeout_seconds": "float8",
        "escalate_to": "json",
        "due_at": "timestamptz",
        "created_at": "timestamptz",
    },
)
ADD_APPROVERS = Statement(
    """
    INSERT INTO approvers (approval_id, approver) SELECT approval_id, approver FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    """,
    rows={"approval_id": "uuid", "approver": "text"},
)
LOAD = Statement(
    f"SELECT {', '.join(COLUMNS)} FROM approvals WHERE id = :id",  # noqa: S608 - names from our own code
    takes={"id": Id()},
    returns=COLUMNS,
)
LOAD_DECISIONS = Statement(
    """
    SELECT approval_id, "by", decision, at, comment, form, via FROM approval_decisions
    WHERE approval_id {among_ids} ORDER BY at, "by"
    """,
    rows={"id": "uuid"},
    returns={
        "approval_id": Id(),
        "by": String(),
        "decision": Status(ApprovalStatus),
        "at": UtcDateTime(),
        "comment": String(),
        "form": Json,
        "via": String(),
    },
)
# One decision of each person.
SAY = Statement(
    """
    INSERT INTO approval_decisions (approval_id, "by", decision, comment, form, shown_hash, via, at)
    VALUES (:approval_id, :person, :decision, :comment, :form, :shown_hash, :via, :at)
    ON CONFLICT DO NOTHING RETURNING approval_id
    """,
    takes={
        "approval_id": Id(),
        "person": String(),
        "decision": Status(ApprovalStatus),
        "comment": String(),
        "form": Json,
        "shown_hash": String(),
        "via": String(),
        "at": UtcDateTime(),
    },
    returns={"approval_id": Id()},
)
# The end of an approval, once.
SETTLE = Statement(
    "UPDATE approvals SET status = :status, decided_at = :now WHERE id = :id AND status = 'pending' RETURNING id",
    takes={"id": Id(), "status": Status(ApprovalStatus), "now": UtcDateTime()},
    returns={"id": Id()},
)
ESCALATE = Statement(
    """
    UPDATE approvals SET approvers = :approvers, due_at = :due_at, escalated_at = :now
    WHERE id = :id AND status = 'pending' AND escalated_at IS NULL
    """,
    takes={"id": Id(), "approvers": Json, "due_at": UtcDateTime(), "now": UtcDateTime()},
)
# What a run and its step show of what they wait for, to be written anew after an escalation.
LOAD_SHOWN = Statement(
    """
    SELECT r.waiting_for, s.wait FROM runs r JOIN steps s ON s.run_id = r.id AND s.path = :path AND s.attempt = :attempt
    WHERE r.id = :run_id
    """,
    takes={"run_id": Id(), "path": String(), "attempt": Integer()},
    returns={"waiting_for": Json, "wait": Json},
)
SHOW_RUN = Statement(
    "UPDATE runs SET waiting_for = :waiting_for WHERE id = :run_id",
    takes={"run_id": Id(), "waiting_for": Json},
)
SHOW_STEP = Statement(
    "UPDATE steps SET wait = :wait WHERE run_id = :run_id AND path = :path AND attempt = :attempt",
    takes={"run_id": Id(), "path": String(), "attempt": Integer(), "wait": Json},
)
# Runs with an approval whose time is up; those that are being written just now come next time.
LOCK_DUE_RUNS = Statement(
    """
    SELECT id FROM runs
    WHERE id IN (SELECT run_id FROM approvals WHERE status = 'pending' AND due_at <= :now ORDER BY due_at LIMIT :batch)
    {skip_locked}
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
LOAD_DUE = Statement(
    f"SELECT {', '.join(COLUMNS)} FROM approvals WHERE run_id {{among_ids}} "  # noqa: S608 - names from our own code
    "AND status = 'pending' AND due_at <= :now",
    rows={"id": "uuid"},
    takes={"now": UtcDateTime()},
    returns=COLUMNS,
)
NEXT_DUE = "SELECT min(due_at) FROM approvals WHERE status = 'pending'"
# Approvals whose steps wait no longer, although nobody has decided.
CANCEL = Statement(
    """
    UPDATE approvals SET status = 'cancelled'
    WHERE status = 'pending' AND run_id {among_run_ids}
      AND (run_id, path, attempt) IN (SELECT run_id, path, attempt FROM {rows})
    """,
    rows=STEP,
)
# One-time links.
ADD_LINK = Statement(
    """
    INSERT INTO approval_links (token_hash, approval_id, approver, created_by, expires_at)
    VALUES (:token_hash, :approval_id, :approver, :created_by, :expires_at)
    """,
    takes={
        "token_hash": String(),
        "approval_id": Id(),
        "approver": String(),
        "created_by": Id(),
        "expires_at": UtcDateTime(),
    },
)
FIND_LINK = Statement(
    "SELECT approval_id, approver, expires_at, used_at FROM approval_links WHERE token_hash = :token_hash",
    takes={"token_hash": String()},
    returns={
        "approval_id": Id(),
        "approver": String(),
        "expires_at": UtcDateTime(),
        "used_at": UtcDateTime(),
    },
)
USE_LINK = Statement(
    "UPDATE approval_links SET used_at = :now WHERE token_hash = :token_hash AND used_at IS NULL RETURNING approval_id",
    takes={"token_hash": String(), "now": UtcDateTime()},
    returns={"approval_id": Id()},
)
