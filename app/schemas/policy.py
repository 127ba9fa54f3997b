"""Wire forms of guardrail policies."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from app.engine.guards.policies import Level
from app.engine.guards.rules import PolicyRules
from app.schemas.common import EXAMPLE_ID

EXAMPLE_POLICY: Final[dict[str, Any]] = {
    "node_types": {"denied": ["run_workflow"]},
    "hosts": {"allowed": ["api.example.com", "*.example.org"]},
    "max_input_bytes": 65536,
    "max_runs": [{"count": 1000, "window_seconds": 3600}],
    "max_concurrent_runs": 20,
    "needs_approval": {"hosts": ["pay.example.org"], "approvers": ["role:operator"]},
    "budgets": [{"name": "llm_usd", "limit": 50, "window_seconds": 86400}],
}


class PolicyRevisionForm(BaseModel):
    """A policy as it was saved once."""

    revision: int
    policy: PolicyRules
    updated_at: datetime
    updated_by: str | None = Field(description="Who saved it; null: it came with the platform.")


class PolicySummary(PolicyRevisionForm):
    """A policy as it stands, and for what."""

    level: Level
    target: str | None = Field(
        description="The team's or workflow's id; null: the whole platform.", examples=[EXAMPLE_ID]
    )


class PolicyForm(BaseModel):
    """A policy as it stands, what it comes to with those above it, and how it came about."""

    level: Level
    target: str | None = Field(
        description="The team's or workflow's id; null: the whole platform.", examples=[EXAMPLE_ID]
    )
    revision: int = Field(description="0: nothing was saved yet.")
    policy: PolicyRules
    effective: PolicyRules = Field(
        description="What holds: this policy and those above it, of which the stricter wins."
    )
    updated_at: datetime | None
    updated_by: str | None
    history: list[PolicyRevisionForm] = Field(description="The newest revisions, newest first.")


class PlatformPolicyForm(PolicyForm):
    """The platform's policy, and which others there are."""

    items: list[PolicySummary] = Field(
        description="Every policy of the platform and of teams. (Those of workflows are their owners' business.)"
    )
