"""Wire forms that need to know where this API is reached from outside."""

from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.deps import Services
from app.core.permissions import TeamRole
from app.core.security.webhook_tokens import webhook_token
from app.core.statuses import WebhookAuth
from app.models import Workflow
from app.schemas.context import rules_of
from app.schemas.team import OwnerForm
from app.schemas.workflow import Dedupe, OnEvent, Webhook, WorkflowForm, WorkflowSummary
from app.services.standings import Standing
from app.services.workflows import Saved


@dataclass(frozen=True, slots=True)
class WorkflowForms:
    """Makes the wire forms of workflows."""

    base_url: str
    key: str

    def summary(self, workflow: Workflow, standing: Standing) -> WorkflowSummary:
        """Return a workflow without its definition."""
        is_editor = standing.role.includes(TeamRole.EDITOR)
        return WorkflowSummary(
            id=workflow.id,
            name=workflow.name,
            description=workflow.description,
            owner=OwnerForm(**asdict(standing.owner)),
            role=standing.role,
            version=workflow.version,
            enabled=workflow.enabled,
            webhook=_webhook(workflow),
            dedupe=_dedupe(workflow),
            context=rules_of(workflow.context_required),
            on_success=workflow.on_success or [],
            on_failure=workflow.on_failure or [],
            on_event=OnEvent(type=workflow.event_type, filter=workflow.event_filter)
            if workflow.event_type
            else None,
            webhook_url=self._webhook_url(workflow) if is_editor else None,
            created_at=workflow.created_at,
            updated_at=workflow.updated_at,
        )

    def whole(self, saved: Saved) -> WorkflowForm:
        """Return a workflow with its definition."""
        summary = self.summary(saved.workflow, saved.standing)
        summary.webhook.secret = saved.new_secret
        return WorkflowForm(**dict(summary), definition=saved.version.definition)

    def _webhook_url(self, workflow: Workflow) -> str:
        address = f"{self.base_url}/api/v1/webhooks/{workflow.id}"
        if workflow.webhook_auth is not WebhookAuth.TOKEN:
            return address
        return f"{address}?token={webhook_token(self.key, workflow.id, workflow.webhook_serial)}"


def _webhook(workflow: Workflow) -> Webhook:
    return Webhook(
        auth=workflow.webhook_auth,
        scheme=workflow.webhook_scheme,
        header=workflow.webhook_header,
        allowed_sources=workflow.webhook_sources,
        secret_set=workflow.webhook_secret is not None,
    )


def _dedupe(workflow: Workflow) -> Dedupe | None:
    set_ = (workflow.dedupe_key, workflow.dedupe_by_input, workflow.dedupe_ttl_seconds)
    if not any(set_):
        return None
    return Dedupe(key=set_[0], by_input=set_[1], ttl_seconds=set_[2])


async def base_url(container: Services, request: Request) -> str:
    """Return how the outside reaches this API: PUBLIC_URL, or as this request came."""
    return (container.settings.public_url or str(request.base_url)).rstrip("/")


BaseUrl = Annotated[str, Depends(base_url)]


async def workflow_forms(container: Services, base_url: BaseUrl) -> WorkflowForms:
    """Return a maker of wire forms."""
    return WorkflowForms(base_url, container.key)


Forms = Annotated[WorkflowForms, Depends(workflow_forms)]
