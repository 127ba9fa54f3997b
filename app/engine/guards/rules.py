"""What a policy can say, as it is sent and stored. Values only."""

import re
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from app.core.as_sent import NOT_BLANK, AsSent
from app.engine.guards.host_names import plain_host
from app.engine.nodes.approval import Approvers

MAX_ENTRIES: Final = 500
YEAR_SECONDS: Final = 366 * 86_400
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}", re.ASCII)


def _host_pattern(text: str) -> str:
    host = plain_host(text)
    if _NAME.fullmatch(host) or _is_address(host):
        return host
    raise ValueError(
        "is no host: write a name such as api.example.com, or *.example.com for all names below it"
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


Host = Annotated[str, Field(max_length=260), AfterValidator(_host_pattern)]
NodeName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), NOT_BLANK
]
BudgetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class _Rules(AsSent):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTypes(_Rules):
    """Which node types steps may have."""

    allowed: list[NodeName] | None = Field(
        default=None, max_length=MAX_ENTRIES, description="Only these; null: all."
    )
    denied: list[NodeName] = Field(
        default=[], max_length=MAX_ENTRIES, description="Not these, whatever is allowed."
    )


class Hosts(_Rules):
    """Which hosts steps may call. `*.example.com` stands for all names below example.com, not for itself."""

    allowed: list[Host] | None = Field(
        default=None, max_length=MAX_ENTRIES, description="Only these; null: all."
    )
    denied: list[Host] = Field(
        default=[], max_length=MAX_ENTRIES, description="Not these, whatever is allowed."
    )


class RunLimit(_Rules):
    """How many runs may be started in a time."""

    count: int = Field(ge=1, le=10_000_000, description="So many runs …", examples=[1000])
    window_seconds: int = Field(
        ge=1, le=YEAR_SECONDS, description="… in any so many seconds.", examples=[3600]
    )


class NeedsApproval(_Rules):
    """Which steps wait until somebody approves."""

    node_types: list[NodeName] = Field(default=[], max_length=MAX_ENTRIES)
    hosts: list[Host] = Field(default=[], max_length=MAX_ENTRIES)
    approvers: Approvers = Field(
        default=["role:operator", "role:admin"],
        description="Who may approve: e-mail addresses, roles, teams. Whoever started the run may not, nor, where nobody knows who did, whoever may edit a workflow of its owner.",
    )


class Budget(_Rules):
    """How much the nodes that report what they spend may spend."""

    name: BudgetName = Field(
        description="The name under which nodes report it.", examples=["llm_usd"]
    )
    limit: float = Field(ge=0, le=1e15, allow_inf_nan=False, examples=[100])
    window_seconds: int | None = Field(
        default=None, ge=1, le=YEAR_SECONDS, description="In any so many seconds; null: in all."
    )


class PolicyRules(_Rules):
    """What a policy says. What is left out is not limited by it."""

    node_types: NodeTypes = NodeTypes()
    hosts: Hosts = Hosts()
    max_input_bytes: int | None = Field(
        default=None, ge=1, le=10**12, description="Largest input of a run, as JSON."
    )
    max_output_bytes: int | None = Field(
        default=None, ge=1, le=10**12, description="Largest output of a step, as JSON."
    )
    max_runs: list[RunLimit] = Field(
        default=[],
        max_length=20,
        description="Below the platform's policy 5 windows of 31 days at most.",
    )
    max_concurrent_runs: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Further runs wait in the queue."
    )
    max_queued_runs: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Further triggers are refused."
    )
    needs_approval: NeedsApproval | None = None
    budgets: list[Budget] = Field(
        default=[],
        max_length=50,
        description="Below the platform's policy 10 at most, and 200 in all such policies that one person has saved.",
    )
