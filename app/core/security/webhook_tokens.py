"""Webhook tokens: derived from the secret key, never stored, so that a database dump gives none away."""

import base64
import hashlib
import hmac
from typing import Final

WEBHOOK_TOKEN_HEADER: Final = "x-webhook-token"


def webhook_token(key: str, workflow_id: str, serial: int) -> str:
    """Return the 256-bit token of a workflow's webhook address; a higher serial makes another one."""
    message = f"webhook:{workflow_id}:{serial}".encode()
    digest = hmac.new(key.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
