"""Ask people."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, model_validator

from app.engine.sdk import (
    Context,
    Fail,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
    Suspend,
    json_schema_field,
)

MAX_APPROVERS = 50
MAX_TIMEOUT_SECONDS = 366 * 86_400
ROLE = re.compile(r"role:[a-z][a-z0-9_-]{0,49}")
TEAM = re.compile(r"team:[^\W_][\w .-]{0,99}")
GROUPS = ("role:", "team:")
REJECTED = "rejected"


def _approver(text: str) -> str:
    """Return an approver as they are compared: an e-mail address or `team:…` in lower case, or `role:…`."""
    name = text.strip()
    if name.startswith("team:"):
        if not TEAM.fullmatch(name):
            raise ValueError("names no team: write team: and its name, such as team:finance")
        return name.casefold()
    if name.startswith("role:"):
        if not ROLE.fullmatch(name):
            raise ValueError("names no role: write role: and its name, such as role:admin")
        return name
    try:
        found = validate_email(name, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValueError(
            "is neither an e-mail address, such as cfo@example.com, nor a role or team, such as role:admin or team:finance"
        ) from None
    return found.normalized.lower()


Approvers = Annotated[
    list[Annotated[str, Field(max_length=320), AfterValidator(_approver)]],
    Field(min_length=1, max_length=MAX_APPROVERS),
    AfterValidator(lambda names: list(dict.fromkeys(names))),
]


class Config(NodeConfig):
    """Who is asked what, and what follows from answers and from none."""

    approvers: Approvers = Field(
        description="Who may decide: e-mail addresses, roles such as `role:admin`, and teams such as `team:finance`.",
        examples=[["cfo@example.com", "role:admin"]],
    )
    min_approvals: int = Field(
        default=1, ge=1, le=MAX_APPROVERS, description="How many must approve, each once."
    )
    reject_quorum: int = Field(
        default=1, ge=1, le=MAX_APPROVERS, description="How many must reject to reject it."
    )
    prompt: str = Field(
        min_length=1,
        max_length=4_000,
        description="What the approvers are asked.",
        examples=["Ship order ${{ input.order_id }}?"],
    )
    form: dict[str, Any] | None = json_schema_field(
        default=None,
        description="JSON Schema of what an approver fills in; approving without it is refused.",
        examples=[{"type": "object", "required": ["cost_centre"]}],
    )
    allow_self: bool = Field(
        default=False, description="Whether an approver may decide on a run that they started."
    )
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        le=MAX_TIMEOUT_SECONDS,
        description="How long to wait for decisions; unset: as long as the run lasts.",
        examples=[3600],
    )
    timeout_action: Literal["fail", "approve", "reject", "escalate"] = Field(
        default="fail",
        description="What happens then: fail the step, approve, reject, or ask `escalate_to` as well, for as long again.",
    )
    escalate_to: Approvers | None = Field(
        default=None,
        description="Who is asked besides once the time is up, with `escalate`.",
        examples=[["ceo@example.com"]],
    )
    on_reject: Literal["fail", "port"] = Field(
        default="fail",
        description="Whether a rejection fails the step, or leaves by the port `rejected`. "
        "When a step depends on that port, it always leaves by it.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.escalate_to is None) == (self.timeout_action == "escalate"):
            raise ValueError(
                'Give `escalate_to` together with `timeout_action: "escalate"`, or neither of them.'
            )
        if self.timeout_seconds is None and self.timeout_action != "fail":
            raise ValueError("A `timeout_action` needs `timeout_seconds`.")
        everybody = {*self.approvers, *(self.escalate_to or ())}
        if not any(name.startswith(GROUPS) for name in everybody):
            self._require_enough(len(everybody))
        return self

    def _require_enough(self, people: int) -> None:
        for field in ("min_approvals", "reject_quorum"):
            if getattr(self, field) > people:
                raise ValueError(
                    f"`{field}` can never be reached: there are only {people} approvers."
                )


class Decision(NodeOutput):
    """What one person has decided."""

    by: str = Field(description="Their e-mail address.")
    decision: Literal["approved", "rejected"] = Field(description="What they have decided.")
    comment: str | None = Field(description="Why, in their words.")
    at: datetime = Field(description="When.")
    form: Any = Field(description="What they have filled in.")


class Output(NodeOutput):
    """What was decided, by whom."""

    decision: Literal["approved", "rejected"] = Field(description="What the decisions come to.")
    decisions: list[Decision] = Field(description="Each one, in the order in which they came.")
    timed_out: bool = Field(
        description="Whether it was decided by `timeout_action`, for want of decisions."
    )


class Approval(Node[Config, Output]):
    """Ask people to approve, and wait for their decisions without holding a worker.

    Steps depend on `<id>.approved` and `<id>.rejected`. Unless a step depends on `rejected`, or `on_reject` is `port`, a
    rejection fails the step.
    """

    type = "approval"
    pure = True
    ports = ("approved", REJECTED)
    example = {
        "approvers": ["cfo@example.com", "role:admin"],
        "prompt": "Ship order ${{ input.order_id }}?",
        "timeout_seconds": 3600,
        "timeout_action": "reject",
    }

    async def run(self, config: Config, context: Context) -> Suspend:
        """Suspend the step until enough people have decided, or the time is up."""
        approval_id, until = context.new_id(), _until(config, context)
        leaves = config.on_reject == "port" or REJECTED in context.ports_in_use
        return Suspend(
            "approval",
            on_due=Fail("Nobody decided in time.", code="approval_timed_out"),
            shown={
                "approval_id": approval_id,
                "prompt": config.prompt,
                "approvers": config.approvers,
                **until,
            },
            data={
                **config.model_dump(),
                "approval_id": approval_id,
                "on_reject": "port" if leaves else "fail",
                **until,
            },
        )


class WaitForApproval(Approval):
    """Ask people to approve, and wait for their decisions: another name of `approval`."""

    type = "wait_for_approval"
    pure = True


def _until(config: Config, context: Context) -> dict[str, str]:
    if config.timeout_seconds is None:
        return {}
    until = context.now() + timedelta(seconds=config.timeout_seconds)
    return {"until": until.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
