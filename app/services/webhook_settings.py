"""A workflow's webhook settings, as they are sent and as they are stored; the secret among them comes out once at most."""

import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from app.core.errors import InvalidInput, Problem
from app.core.security.encryption import CannotDecrypt
from app.core.security.webhook_signatures import new_secret, signing_key
from app.core.statuses import WebhookAuth, WebhookScheme
from app.models import Workflow
from app.schemas.workflow import Rotation, Webhook, WorkflowChanges, WorkflowDraft
from app.services.webhook_secrets import WebhookSecrets

SECRET_OVERLAP_SECONDS: Final = 86_400
RESERVED_HEADERS: Final = frozenset(
    {"authorization", "cookie", "host", "content-type", "content-length", "x-webhook-token"}
    | {"x-api-key", "idempotency-key", "transfer-encoding", "connection"}
)
Values = dict[str, Any]


def webhook_problems(
    form: WorkflowDraft | WorkflowChanges, saved: Workflow | None, secrets: WebhookSecrets
) -> Iterator[Problem]:
    """Yield what does not go together in the webhook settings that were sent."""
    if "webhook" not in form.model_fields_set:
        return
    webhook = form.webhook
    if webhook.auth is not WebhookAuth.SIGNATURE:
        for name in ("scheme", "secret", "header"):
            if getattr(webhook, name) is not None:
                detail = (
                    f'`{name}` belongs to signatures: set "auth": "signature", or leave it out.'
                )
                yield _problem(name, "needs_signature", detail)
        return
    yield from _header_problems(webhook)
    secret = _stored(saved, secrets) if webhook.secret is None else webhook.secret
    yield from _secret_problems(secret, _scheme(webhook))


def changed_webhook(
    changes: WorkflowDraft | WorkflowChanges, saved: Workflow, secrets: WebhookSecrets
) -> tuple[Values, str | None]:
    """Return what `webhook_values` does, nothing when no settings were sent."""
    if "webhook" not in changes.model_fields_set:
        return {}, None
    return webhook_values(changes.webhook, saved.id, saved, secrets)


def webhook_values(
    webhook: Webhook, workflow_id: str, saved: Workflow | None, secrets: WebhookSecrets
) -> tuple[Values, str | None]:
    """Return the columns for settings without problems, and the secret if it was made just now."""
    signed = webhook.auth is WebhookAuth.SIGNATURE
    values: Values = {
        "webhook_auth": webhook.auth,
        "webhook_scheme": _scheme(webhook) if signed else None,
        "webhook_header": webhook.header,
        "webhook_sources": webhook.allowed_sources,
    }
    if saved is not None and saved.webhook_auth is not webhook.auth:
        values |= {"webhook_old_until": None, "webhook_old_secret": None}
    if not signed:
        return values | {"webhook_secret": None, "webhook_old_secret": None}, None
    stored = _stored(saved, secrets)
    if stored is not None and (webhook.secret is None or _same(webhook.secret, stored)):
        return values, None
    made = None if webhook.secret else new_secret(_scheme(webhook))
    serial = 1 if saved is None else saved.webhook_serial + 1
    sealed = secrets.seal(workflow_id, serial, webhook.secret or made or "")
    values |= {"webhook_serial": serial, "webhook_secret": sealed}
    return values | {"webhook_old_secret": None, "webhook_old_until": None}, made


def _rotation_problems(rotation: Rotation, workflow: Workflow) -> list[Problem]:
    if rotation.secret is None:
        return []
    if workflow.webhook_auth is not WebhookAuth.SIGNATURE:
        detail = "This webhook has no secret: leave `secret` out, or set `webhook.auth` to `signature` first."
        return [Problem("/secret", "needs_signature", detail)]
    scheme = workflow.webhook_scheme or WebhookScheme.STANDARD
    return [
        Problem("/secret", problem.code, problem.detail)
        for problem in _secret_problems(rotation.secret, scheme)
    ]


def rotation_values(
    rotation: Rotation, workflow: Workflow, secrets: WebhookSecrets, now: datetime
) -> tuple[Values, str | None]:
    """Return the columns for another token or secret, and the secret if it was made just now.

    Raises:
        InvalidInput: the new secret cannot be used, or there is none to replace.
    """
    problems = _rotation_problems(rotation, workflow)
    if problems:
        raise InvalidInput("The webhook cannot be rotated so.", problems)
    signed = workflow.webhook_auth is WebhookAuth.SIGNATURE
    overlap = rotation.overlap_seconds
    if overlap is None:
        overlap = SECRET_OVERLAP_SECONDS if signed else 0
    serial = workflow.webhook_serial + 1
    values: Values = {
        "webhook_serial": serial,
        "webhook_old_until": now + timedelta(seconds=overlap) if overlap else None,
    }
    if not signed:
        return values, None
    made = (
        None if rotation.secret else new_secret(workflow.webhook_scheme or WebhookScheme.STANDARD)
    )
    sealed = secrets.seal(workflow.id, serial, rotation.secret or made or "")
    old = workflow.webhook_secret if overlap else None
    return values | {"webhook_secret": sealed, "webhook_old_secret": old}, made


def _scheme(webhook: Webhook) -> WebhookScheme:
    return webhook.scheme or WebhookScheme.STANDARD


def _header_problems(webhook: Webhook) -> Iterator[Problem]:
    if webhook.header is None:
        return
    if webhook.scheme is not WebhookScheme.HMAC:
        detail = "Only scheme `hmac` has a header of your choice: leave it out, or set that scheme."
        yield _problem("header", "needs_hmac", detail)
    elif webhook.header.lower() in RESERVED_HEADERS:
        detail = (
            f"`{webhook.header}` means something else already: take a header such as `X-Signature`."
        )
        yield _problem("header", "reserved_header", detail)


def _secret_problems(secret: str | None, scheme: WebhookScheme) -> Iterator[Problem]:
    if secret is None:
        return
    try:
        signing_key(scheme, secret)
    except ValueError as error:
        yield _problem("secret", "invalid_secret", str(error))


def _stored(saved: Workflow | None, secrets: WebhookSecrets) -> str | None:
    """Return the secret as it is; one that cannot be read any more is as good as none, and is replaced."""
    if saved is None or saved.webhook_secret is None:
        return None
    try:
        return secrets.open(saved.id, saved.webhook_serial, saved.webhook_secret)
    except CannotDecrypt:
        return None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _problem(name: str, code: str, detail: str) -> Problem:
    return Problem(f"/webhook/{name}", code, detail)
