"""Signs webhook calls as each kind of sender does."""

import base64
import hashlib
import hmac

from app.core.security.webhook_signatures import signing_key
from app.core.statuses import WebhookScheme

BODY = b'{"id": "evt_1", "amount": 4200}'
SECRETS = {
    WebhookScheme.STANDARD: "whsec_"
    + base64.b64encode(b"a standard secret of 32 bytes...").decode(),
    WebhookScheme.GITHUB: "It's a Secret to Everybody",
    WebhookScheme.STRIPE: "whsec_test_secret_of_stripe",
    WebhookScheme.SLACK: "8f742231b10e8888abcd99yyyzzz85a5",
    WebhookScheme.HMAC: "a plain secret of some length",
}


def headers_of(
    scheme: WebhookScheme,
    body: bytes,
    time: int | str,
    *,
    key: bytes | None = None,
    id_: str = "msg_1",
) -> dict[str, str]:
    """Return the headers that a sender puts beside a body."""
    key = key or signing_key(scheme, SECRETS[scheme])

    def sign(before: str) -> bytes:
        return hmac.new(key, before.encode() + body, hashlib.sha256).digest()

    match scheme:
        case WebhookScheme.STANDARD:
            signature = base64.b64encode(sign(f"{id_}.{time}.")).decode()
            return {
                "webhook-id": id_,
                "webhook-timestamp": str(time),
                "webhook-signature": f"v1,{signature}",
            }
        case WebhookScheme.GITHUB:
            return {"x-hub-signature-256": f"sha256={sign('').hex()}"}
        case WebhookScheme.STRIPE:
            return {"stripe-signature": f"t={time},v1={sign(f'{time}.').hex()}"}
        case WebhookScheme.SLACK:
            return {
                "x-slack-signature": f"v0={sign(f'v0:{time}:').hex()}",
                "x-slack-request-timestamp": str(time),
            }
        case WebhookScheme.HMAC:
            return {"x-signature": sign("").hex()}
