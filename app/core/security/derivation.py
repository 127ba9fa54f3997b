"""Keys for one purpose each, out of the one secret that operators keep: HKDF with SHA-256 (RFC 5869).

By Python's own hmac: every process derives keys at its start, and cryptography's takes 8 MB.
"""

import hashlib
import hmac
from typing import Final

KEY_BYTES: Final = 32
"""The length of one hash, so that expanding takes one round."""


def derived_key(secret: str, purpose: bytes) -> bytes:
    """Return the key of a purpose; without the secret, no key tells anything of another."""
    extracted = hmac.digest(bytes(KEY_BYTES), secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, purpose + b"\x01", hashlib.sha256)
