"""Encryption of what is stored: AES-256-GCM, with what it belongs to bound in, under keys that can be replaced.

A ciphertext names its key. The first key encrypts; the others only decrypt, until everything is encrypted anew.
Wire form: a nonce of 12 bytes, then the ciphertext with its tag of 16 (NIST SP 800-38D).
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from app.core.config import Settings, require_secret_key
from app.core.errors import ConfigurationError
from app.core.security.derivation import KEY_BYTES, derived_key

NONCE_BYTES: Final = 12
MAX_KEY_ID_CHARACTERS: Final = 32
DERIVED_KEY_ID: Final = "secret-key"
"""No operator's key can be called so: their ids have no hyphen."""


class CannotDecrypt(Exception):
    """The key is not there, or the ciphertext was changed or belongs to something else."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A ciphertext, and the id of the key that opens it."""

    key_id: str
    ciphertext: bytes


class KeyRing:
    """The keys that the operator has given, by id; the first one encrypts."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self.current = next(iter(self._keys))
        self.ids = frozenset(self._keys)

    def seal(self, plain: bytes, bound_to: str) -> Sealed:
        """Encrypt under the newest key; only with the same `bound_to` (such as `credential:<id>`) it can be opened."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = _aes_gcm().encrypt(self._keys[self.current], nonce, plain, bound_to.encode())
        return Sealed(self.current, nonce + sealed)

    def open(self, sealed: Sealed, bound_to: str) -> bytes:
        """Return what was encrypted.

        Raises:
            CannotDecrypt: the key is not there, or the ciphertext is not what was sealed for this.
        """
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise CannotDecrypt(f"ENCRYPTION_KEYS has no key {sealed.key_id!r} any more: add it.")
        nonce, ciphertext = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        plain: bytes | None = _aes_gcm().decrypt(key, nonce, ciphertext, bound_to.encode())
        if plain is None:
            raise CannotDecrypt("The ciphertext was changed, or belongs to something else.")
        return plain


@cache
def _aes_gcm() -> Any:
    return import_module("app.core.security.aes_gcm")


def key_ring(settings: Settings) -> KeyRing:
    """Return the keys of ENCRYPTION_KEYS, and last the one that SECRET_KEY stands for, which encrypts while there is no other.

    Raises:
        ConfigurationError: a setting does not hold.
    """
    text = settings.encryption_keys.get_secret_value() if settings.encryption_keys else ""
    derived = derived_key(require_secret_key(settings), b"automateos encryption")
    return KeyRing({**parse_keys(text), DERIVED_KEY_ID: derived})


def parse_keys(text: str) -> dict[str, bytes]:
    """Return the keys of a text by id: `id:base64,…` of 32 bytes each, the one that encrypts first.

    Raises:
        ConfigurationError: it is not written so.
    """
    keys: dict[str, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        key_id, _, encoded = entry.partition(":")
        key = _decoded(encoded)
        if not (key_id.isalnum() and len(key_id) <= MAX_KEY_ID_CHARACTERS) or len(key) != KEY_BYTES:
            raise ConfigurationError(
                "ENCRYPTION_KEYS: write each key as `id:key`, the id of letters and digits, the key 32 random bytes in "
                'base64, such as "k1:$(openssl rand -base64 32)"; separate several with commas, the newest first.'
            )
        if key_id in keys:
            raise ConfigurationError(f"ENCRYPTION_KEYS names the key {key_id} twice.")
        keys[key_id] = key
    return keys


def new_key(key_id: str) -> str:
    """Return a fresh key as ENCRYPTION_KEYS has it."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
