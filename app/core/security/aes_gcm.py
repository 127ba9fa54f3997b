"""AES-256-GCM; loaded by `encryption` when something is encrypted, because cryptography takes 8 MB."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def encrypt(key: bytes, nonce: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Return the ciphertext with its tag."""
    return AESGCM(key).encrypt(nonce, plain, bound_to)


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, bound_to: bytes) -> bytes | None:
    """Return what was encrypted; None when that is not under this key, or bound to something else."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, bound_to)
    except (InvalidTag, ValueError):
        return None
