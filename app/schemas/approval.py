"""Wire forms of approvals, decisions and one-time links."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.core.statuses import ApprovalStatus
from app.schemas.auth import Email
from app.schemas.common import EXAMPLE_ID, Input

MAX_COMMENT_CHARACTERS = 2_000
ONE_DAY = 86_400
SHOWN_HASH = (
    "SHA-256 of `id`, `workflow_id`, `run_id`, `step`, `prompt` and `form` as canonical JSON (keys sorted, no spaces): "
    "what the approvers are shown."
)


class DecisionRequest(Input):
    """Why, and what the form asks for."""

    comment: str | None = Field(
        default=None,
        max_length=MAX_COMMENT_CHARACTERS,
        description="Why: it stays in the history.",
        examples=["Within budget"],
    )
    form: Any = Field(
        default=None,
        description="What the approval's `form` asks for; needed to approve, not to reject.",
        examples=[{"cost_centre": "4711"}],
    )
    shown_hash: str | None = Field(
        default=None,
        max_length=64,
        description="`shown_hash` of what you have read: refused (409) if the approval shows something else.",
        examples=[None],
    )


class LinkDecision(DecisionRequest):
    """What whoever has a link decides."""

    decision: Literal["approve", "reject"] = Field(examples=["approve"])


class DecisionForm(BaseModel):
    """What one person has decided."""

    by: str = Field(description="Their e-mail address.", examples=["cfo@example.com"])
    decision: Literal["approved", "rejected"]
    comment: str | None
    at: datetime
    form: Any = Field(description="What they have filled in.")
    via: Literal["api", "link"] = Field(description="`link`: by a one-time link.")


class ApprovalForm(BaseModel):
    """What people are asked, and what they have decided so far."""

    id: str = Field(examples=[EXAMPLE_ID])
    workflow_id: str = Field(examples=[EXAMPLE_ID])
    run_id: str = Field(examples=[EXAMPLE_ID])
    step: str = Field(description="Path of the step that waits.", examples=["sign_off"])
    status: ApprovalStatus = Field(
        description="`expired`: not decided in time; `cancelled`: the run went on or ended without it."
    )
    prompt: str = Field(examples=["Ship order A-1001?"])
    form: Any = Field(description="JSON Schema of what an approver fills in; null: nothing.")
    approvers: list[str] = Field(examples=[["cfo@example.com", "role:admin"]])
    min_approvals: int
    reject_quorum: int
    requested_by: str | None = Field(description="Who started the run by hand; else null.")
    allow_self: bool = Field(description="Whether `requested_by` may decide.")
    shown_hash: str = Field(description=SHOWN_HASH)
    timeout_action: str = Field(description="What happens at `due_at`.")
    due_at: datetime | None = Field(description="Until when it is to be decided; null: no limit.")
    escalated_at: datetime | None = Field(description="When further approvers were asked.")
    created_at: datetime
    decided_at: datetime | None = Field(description="When it was decided, or expired.")
    decisions: list[DecisionForm] = Field(description="In the order in which they came.")


class LinkRequest(Input):
    """For whom to make a link."""

    approver: Email = Field(
        description="One of the approval's `approvers`, by e-mail address.",
        examples=["cfo@example.com"],
    )
    expires_in_seconds: int = Field(default=ONE_DAY, ge=1, le=30 * ONE_DAY, examples=[ONE_DAY])


class LinkForm(BaseModel):
    """A one-time link. It is shown once: only its hash is stored."""

    url: str = Field(description="GET shows what is asked; POST decides, once.")
    expires_at: datetime


class LinkedApproval(BaseModel):
    """What a link shows: what is asked of whom. `shown_hash` goes back with the decision."""

    approval_id: str = Field(examples=[EXAMPLE_ID])
    approver: str = Field(description="As whom the link decides.", examples=["cfo@example.com"])
    status: ApprovalStatus
    prompt: str
    form: Any = Field(description="JSON Schema of what is to be filled in; null: nothing.")
    shown_hash: str
    due_at: datetime | None
