"""Wire forms of workflows and their versions."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.core.addresses import network_of
from app.core.as_sent import NOT_BLANK
from app.core.permissions import TeamRole
from app.core.security.webhook_signatures import DEFAULT_HEADER, MAX_SECRET_CHARACTERS
from app.core.statuses import WebhookAuth, WebhookScheme
from app.engine.sdk import EventType
from app.schemas.common import EXAMPLE_ID, Input, ProblemItem
from app.schemas.context import ContextRules
from app.schemas.hook import ON_FAILURE, ON_SUCCESS, Hooks
from app.schemas.team import OwnerForm, TeamText

EXAMPLE_DEFINITION: dict[str, Any] = {
    "steps": [
        {
            "type": "http_request_node",
            "config": {
                "method": "POST",
                "url": "https://discord.com/api/webhooks/xxx/yyy",
                "headers": {"Content-Type": "application/json"},
                "json_body": {"content": "New sale!"},
            },
        }
    ]
}
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), NOT_BLANK
]
Description = Annotated[str, StringConstraints(max_length=2000)]


def _cidr(text: str) -> str:
    try:
        return str(network_of(text))
    except ValueError as error:
        raise ValueError(
            f"is neither an address nor a CIDR such as 192.0.2.0/24 or 2001:db8::/32: {error}"
        ) from None


Cidr = Annotated[str, StringConstraints(max_length=64), AfterValidator(_cidr)]
Definition = Annotated[
    dict[str, Any],
    Field(
        description="The steps, run from top to bottom. `GET /api/v1/nodes` lists what a step can be; at most 256 KiB.",
        examples=[EXAMPLE_DEFINITION],
    ),
]


def _is_unset(value: Any) -> bool:
    return not value


class Webhook(Input):
    """Who may call the webhook address besides the owner. A change replaces all of it but the secret."""

    auth: WebhookAuth = Field(
        default=WebhookAuth.TOKEN,
        description="`token`: whoever has the token, which is part of `webhook_url`. `signature`: whoever signs the body with "
        "the secret. `api_key`: only who may run the workflow, with an API key of theirs. `open`: anybody.",
    )
    scheme: WebhookScheme | None = Field(
        default=None,
        description="How calls are signed: `standard` (Standard Webhooks, unless you say otherwise), `github`, `stripe`, `slack`, "
        "or `hmac`: HMAC-SHA256 of the body, as hex or base64, in one header.",
        exclude_if=_is_unset,
    )
    secret: Annotated[str, StringConstraints(max_length=MAX_SECRET_CHARACTERS)] | None = Field(
        default=None,
        description="What calls are signed with; 16 bytes or more. Left out, the stored one stays, or one is made. It is shown "
        "once, in the answer to the request that has made it.",
        exclude_if=_is_unset,
    )
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")] | None = Field(
        default=None,
        description=f"Of scheme `hmac`: where the signature is. Unset: `{DEFAULT_HEADER}`.",
        exclude_if=_is_unset,
    )
    allowed_sources: Annotated[list[Cidr], Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="Addresses and CIDRs that calls may come from. The owner, logged in, may call from anywhere. Behind a proxy, "
        "TRUSTED_PROXIES must name it.",
        examples=[["192.30.252.0/22", "2a0a:a440::/29"]],
        exclude_if=_is_unset,
    )
    secret_set: bool | None = Field(
        default=None,
        description="Whether there is a secret. Read only: what you send here counts for nothing.",
        exclude_if=_is_unset,
    )


class Dedupe(Input):
    """How to tell that two triggers are the same one. An `Idempotency-Key` goes before `key`, and both before `by_input`."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="An expression on `input` and `headers`. A trigger whose key was seen before answers with the first run.",
        examples=["input.id"],
        exclude_if=_is_unset,
    )
    by_input: bool = Field(
        default=False,
        description="An input that equals one whose run has succeeded answers with that run. (One whose run is still at work, "
        "or has failed, starts a new one.)",
        examples=[False],
        exclude_if=_is_unset,
    )
    ttl_seconds: int | None = Field(
        default=None,
        ge=1,
        le=315_360_000,
        description="How long keys and inputs are remembered, from their trigger on. Null: IDEMPOTENCY_KEY_TTL_SECONDS, which "
        "is a week unless the operator has set it.",
        examples=[604_800],
        exclude_if=_is_unset,
    )


class OnEvent(Input):
    """Which events start the workflow."""

    type: EventType = Field(
        description="The type of the events; each becomes the `input` of a run.",
        examples=["order.placed"],
    )
    filter: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="An expression on `event` (`id`, `type`, `correlation_id`, `payload`, `received_at`); only true starts a run.",
        examples=["event.payload.total > 100"],
    )


class WorkflowDraft(Input):
    """A workflow to save. In a PUT, an optional field that is left out keeps its value."""

    name: Name = Field(description="For people.", examples=["Stripe to Discord Bridge"])
    definition: Definition
    description: Description = Field(default="", description="For people.")
    enabled: bool = Field(default=True, description="A disabled workflow starts no runs.")
    webhook: Webhook = Field(default=Webhook(), description="Who may call `webhook_url`.")
    dedupe: Dedupe | None = Field(default=None, description="Null: every trigger is a new run.")
    context: ContextRules | None = Field(
        default=None, description="What every run must be told of its grounds; null: nothing."
    )
    on_success: Hooks = Field(default=[], description=ON_SUCCESS)
    on_failure: Hooks = Field(default=[], description=ON_FAILURE)
    on_event: OnEvent | None = Field(default=None, description="Null: no event starts it.")


class NewWorkflow(WorkflowDraft):
    """A workflow to save for the first time."""

    team: TeamText | None = Field(
        default=None,
        description="The team that is to own it, by id or name; I must be at least `editor` there. Null: it is mine.",
        examples=[None],
    )


class WorkflowChanges(Input):
    """What to change; everything else stays."""

    name: Name = Field(default="", description="For people.")
    definition: Definition = Field(default={}, description="Saved as the next version.")
    description: Description = Field(default="", description="For people.")
    enabled: bool = Field(default=True, description="A disabled workflow starts no runs.")
    webhook: Webhook = Field(default=Webhook(), description="Who may call `webhook_url`.")
    dedupe: Dedupe | None = Field(default=None, description="Null: every trigger is a new run.")
    context: ContextRules | None = Field(
        default=None, description="What every run must be told of its grounds; null: nothing."
    )
    on_success: Hooks = Field(default=[], description=ON_SUCCESS)
    on_failure: Hooks = Field(default=[], description=ON_FAILURE)
    on_event: OnEvent | None = Field(default=None, description="Null: no event starts it.")


class Rotation(Input):
    """How to replace a webhook's token or secret."""

    overlap_seconds: int | None = Field(
        default=None,
        ge=0,
        le=30 * 86_400,
        description="How long the one before counts as well. Unset: a day for a secret, not at all for a token.",
        examples=[86_400],
    )
    secret: Annotated[str, StringConstraints(max_length=MAX_SECRET_CHARACTERS)] | None = Field(
        default=None,
        description="The new secret, where the sender dictates it. Left out, one is made and shown in this answer.",
    )


class DefinitionCheck(Input):
    """A definition to check without saving it."""

    definition: Definition


class CheckResult(BaseModel):
    """Whether a definition could be saved."""

    valid: bool
    problems: list[ProblemItem] = Field(description="Everything that is wrong, at once.")


class WorkflowSummary(BaseModel):
    """A workflow without its definition."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["Stripe to Discord Bridge"])
    description: str
    owner: OwnerForm
    role: TeamRole = Field(description="Mine on it.", examples=["owner"])
    version: int = Field(description="Number of the newest version; new runs use it.", examples=[1])
    enabled: bool
    webhook: Webhook
    dedupe: Dedupe | None
    context: ContextRules | None
    on_success: Hooks = Field(description=ON_SUCCESS)
    on_failure: Hooks = Field(description=ON_FAILURE)
    on_event: OnEvent | None
    webhook_url: str | None = Field(
        description="Where third parties POST to start a run. Keep it secret: it holds the token, if `webhook.auth` is `token`. "
        "Null for whoever is no `editor`."
    )
    created_at: datetime
    updated_at: datetime


class WorkflowForm(WorkflowSummary):
    """A workflow with the definition of its newest version."""

    definition: dict[str, Any] = Field(examples=[EXAMPLE_DEFINITION])


class VersionSummary(BaseModel):
    """An immutable saved definition, without the definition."""

    version: int = Field(examples=[1])
    checksum: str = Field(description="SHA-256 of the definition as canonical JSON.")
    created_by: str = Field(description="Id of the user who saved it.", examples=[EXAMPLE_ID])
    created_at: datetime


class VersionForm(VersionSummary):
    """An immutable saved definition."""

    definition: dict[str, Any] = Field(examples=[EXAMPLE_DEFINITION])
