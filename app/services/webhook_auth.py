"""Who may start a run at a webhook address without being its owner: decisions on what was sent and what was read."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.addresses import address_of, network_of
from app.core.config import KEY_TTL_SECONDS
from app.core.errors import NotAuthenticated, Unavailable
from app.core.logging import get_logger
from app.core.security.encryption import CannotDecrypt
from app.core.security.webhook_signatures import (
    TOLERANCE_SECONDS,
    Delivery,
    SignatureRefused,
    verify,
)
from app.core.security.webhook_tokens import webhook_token
from app.core.statuses import WebhookAuth, WebhookScheme
from app.engine.intake import SignedDelivery
from app.services.webhook_secrets import WebhookSecrets

WRONG_TOKEN: Final = "The webhook token is wrong: copy the workflow's `webhook_url` again."
NO_TOKEN: Final = (
    "This webhook needs its token: call the workflow's `webhook_url` as it stands, send `X-Webhook-Token`, or be its "
    "owner with an access token that still holds."
)
WRONG_SIGNATURE: Final = (
    "The signature of this webhook call does not hold: sign the body as it is sent, with this webhook's secret, by the scheme "
    "that its owner has set, and send it within 5 minutes."
)
NO_API_KEY: Final = (
    "This webhook needs an API key of somebody who may run the workflow: send it as `X-API-Key`."
)
NOT_TAKEN: Final = "This webhook takes no such call: ask its owner how it may be called."
_TIMED_SECONDS: Final = 3 * TOLERANCE_SECONDS
"""A call that is stamped as far ahead as may be is taken for twice the tolerance; the rest is for slow clocks."""
_UNTIMED_SECONDS: Final = 90 * 86_400
"""A call that tells no time never becomes too old: whoever has recorded it gets no second run out of it for so long."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """How a workflow's webhook may be called, as it is in this transaction."""

    workflow_id: str
    auth: WebhookAuth
    serial: int
    scheme: WebhookScheme | None = None
    header: str | None = None
    sources: tuple[str, ...] | None = None
    secret: str | None = None
    old_secret: str | None = None
    old_until: datetime | None = None
    """Until then, the token and the secret before this `serial` count as well."""


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """What a caller has sent who is not the owner."""

    token: str | None
    headers: Mapping[str, str]
    body: bytes
    address: str | None


@dataclass(frozen=True, slots=True)
class Gate:
    """What calls are judged with."""

    key: str
    secrets: WebhookSecrets
    now: datetime
    key_ttl_seconds: int = KEY_TTL_SECONDS


def let_in(call: WebhookCall, rules: WebhookRules, gate: Gate) -> SignedDelivery | None:
    """Return what a signed call is known by; None when it was let in without a signature.

    Who calls from elsewhere than the allowed sources is answered as if what they have sent were wrong.

    Raises:
        NotAuthenticated: they may not call.
        Unavailable: the secret cannot be read right now.
    """
    from_allowed = _is_allowed(call.address, rules.sources)
    match rules.auth:
        case WebhookAuth.TOKEN:
            _check_token(call.token, rules, gate, from_allowed=from_allowed)
        case WebhookAuth.SIGNATURE:
            if not from_allowed:
                raise NotAuthenticated(WRONG_SIGNATURE)
            return _known_by(_verified(call, rules, gate), gate.key_ttl_seconds)
        case WebhookAuth.API_KEY:
            raise NotAuthenticated(NO_API_KEY)
        case WebhookAuth.OPEN:
            if not from_allowed:
                raise NotAuthenticated(NOT_TAKEN)
    return None


def _check_token(token: str | None, rules: WebhookRules, gate: Gate, *, from_allowed: bool) -> None:
    if token is None:
        raise NotAuthenticated(NO_TOKEN)
    given = token.encode()
    right = [
        hmac.compare_digest(given, webhook_token(gate.key, rules.workflow_id, serial).encode())
        for serial in _serials(rules, gate.now)
    ]
    if not (any(right) and from_allowed):
        raise NotAuthenticated(WRONG_TOKEN)


def _serials(rules: WebhookRules, now: datetime) -> Sequence[int]:
    overlaps = rules.old_until is not None and now < rules.old_until
    return [rules.serial, rules.serial - 1] if overlaps else [rules.serial]


def _verified(call: WebhookCall, rules: WebhookRules, gate: Gate) -> Delivery:
    scheme = rules.scheme or WebhookScheme.STANDARD
    stored = dict(zip(_serials(rules, gate.now), (rules.secret, rules.old_secret), strict=False))
    try:
        keys = [
            gate.secrets.signing_key(scheme, rules.workflow_id, serial, secret)
            for serial, secret in stored.items()
            if secret is not None
        ]
        now = gate.now.timestamp()
        return verify(scheme, keys, call.headers, call.body, now, rules.header)
    except SignatureRefused:
        raise NotAuthenticated(WRONG_SIGNATURE) from None
    except CannotDecrypt as error:
        log.error("webhook_secret_unreadable", workflow_id=rules.workflow_id, error=str(error))  # noqa: TRY400 - the sentence says it all
        raise Unavailable(
            "This webhook's secret cannot be read right now: the operator finds the cause in the log."
        ) from None


def _known_by(delivery: Delivery, key_ttl_seconds: int) -> SignedDelivery:
    """Return under what a delivery is remembered: as long as it would be taken again, or sent again by its sender."""
    seconds = _TIMED_SECONDS if delivery.timed else _UNTIMED_SECONDS
    if delivery.id is not None or not delivery.timed:
        seconds = max(seconds, key_ttl_seconds)
    return SignedDelivery(delivery.key, delivery.id, seconds)


def _is_allowed(text: str | None, sources: tuple[str, ...] | None) -> bool:
    if sources is None:
        return True
    address = address_of(text or "")
    return address is not None and any(address in network_of(source) for source in sources)
