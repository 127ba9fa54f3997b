"""What OpenAPI says of the endpoints that start runs, where they read headers and bodies by hand: the hot path."""

from typing import Any, Final

_SALE: Final = {"id": "evt_1001", "amount": 4200, "currency": "eur"}
_INPUT: Final = {"schema": {}, "example": _SALE}
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Same key, same run: repeat a request safely. `webhook-id` does the same.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=10`: answer when the run has ended, or after 10 seconds (60 at most). What cannot be read is ignored.",
    "schema": {"type": "string"},
    "example": "wait=10",
}
SIGNATURES: Final = {
    "webhook-signature": "Scheme `standard`: `v1,<base64>`, over `webhook-id`, `webhook-timestamp` and the body.",
    "X-Hub-Signature-256": "Scheme `github`: `sha256=<hex>`. `X-GitHub-Delivery` tells a repetition.",
    "Stripe-Signature": "Scheme `stripe`: `t=<timestamp>,v1=<hex>`.",
    "X-Slack-Signature": "Scheme `slack`: `v0=<hex>`, with `X-Slack-Request-Timestamp`.",
    "X-Signature": "Scheme `hmac`: hex or base64; the workflow's `webhook.header` may name another header.",
}


def _signature(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": SIGNATURES[name],
        "schema": {"type": "string"},
    }


START_OPERATION: Final[dict[str, Any]] = {"parameters": [IDEMPOTENCY_KEY, PREFER]}
WEBHOOK_OPERATION: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "workflow_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
        },
        {
            "name": "token",
            "in": "query",
            "description": "The token of the workflow's `webhook_url`.",
            "schema": {"type": "string"},
        },
        {
            "name": "X-Webhook-Token",
            "in": "header",
            "description": "The same token, for callers that can set headers.",
            "schema": {"type": "string"},
        },
        *(_signature(name) for name in SIGNATURES),
        IDEMPOTENCY_KEY,
        PREFER,
    ],
    "requestBody": {
        "description": "Becomes the run's `input`; none is `{}`.",
        "content": {
            "application/json": _INPUT,
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "additionalProperties": {"type": "string"}}
            },
        },
    },
    "security": [{}, {"OAuth2PasswordBearer": []}, {"ApiKey": []}],
}
