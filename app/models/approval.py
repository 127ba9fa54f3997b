"""What people are asked, and what they have answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.core.statuses import ApprovalStatus
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_PENDING = text("status = 'pending'")


class Approval(SQLModel, table=True):
    """A request for approval by a waiting step. `shown_hash` is the SHA-256 of what the approvers are shown.

    `approvers` grow when it is escalated. `requested_by` is who started the run, where a person did.
    """

    __tablename__ = "approvals"
    __table_args__ = (
        CheckConstraint(one_of("status", ApprovalStatus), name="approvals_status"),
        UniqueConstraint("run_id", "path", "attempt", name="approvals_step"),
        Index("approvals_due", "due_at", postgresql_where=_PENDING, sqlite_where=_PENDING),
        Index("approvals_by_owner", "owner_id", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    workflow_id: str = Field(sa_type=Id)
    run_id: str = Field(sa_type=Id)
    path: str = Field(max_length=500)
    attempt: int
    status: ApprovalStatus = Field(sa_type=Status(ApprovalStatus))
    prompt: str
    form: Any = Field(default=None, sa_type=Json, nullable=True)
    approvers: Any = Field(sa_type=Json)
    min_approvals: int = 1
    reject_quorum: int = 1
    allow_self: bool = False
    requested_by: str | None = Field(default=None, max_length=320)
    shown_hash: str = Field(max_length=64)
    on_reject: str = Field(max_length=16)
    timeout_action: str | None = Field(default=None, max_length=16)
    timeout_seconds: float | None = None
    escalate_to: Any = Field(default=None, sa_type=Json, nullable=True)
    escalated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Approver(SQLModel, table=True):
    """Who may decide: an e-mail address, or `role:…`. The inbox is read by it."""

    __tablename__ = "approvers"
    __table_args__ = (Index("approvers_inbox", "approver", "approval_id"),)

    approval_id: str = Field(primary_key=True, sa_type=Id)
    approver: str = Field(primary_key=True, max_length=320)


class ApprovalDecision(SQLModel, table=True):
    """What one person has decided. One each."""

    __tablename__ = "approval_decisions"

    approval_id: str = Field(primary_key=True, sa_type=Id)
    by: str = Field(primary_key=True, max_length=320)
    decision: str = Field(max_length=16)
    comment: str | None = None
    form: Any = Field(default=None, sa_type=Json, nullable=True)
    shown_hash: str = Field(max_length=64)
    via: str = Field(max_length=16)
    at: datetime = Field(sa_type=UtcDateTime)


class ApprovalLink(SQLModel, table=True):
    """A one-time link for an approver outside the system, stored as the SHA-256 of its token."""

    __tablename__ = "approval_links"

    token_hash: str = Field(primary_key=True, max_length=64)
    approval_id: str = Field(sa_type=Id, index=True)
    approver: str = Field(max_length=320)
    created_by: str = Field(sa_type=Id)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
