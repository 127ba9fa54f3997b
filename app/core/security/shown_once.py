"""Secrets that are shown once and stored as SHA-256: API keys, refresh tokens, invitations.

They hold 256 random bits, so that a fast hash is enough: nobody guesses them, with or without the database.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from app.core.errors import NotAuthenticated
from app.core.ids import parse_id

SECRET_BYTES: Final = 32
REFRESH_TOKEN_PREFIX: Final = "rt_"
INVITATION_PREFIX: Final = "inv_"
MAX_SECRET_CHARACTERS: Final = 200
_API_KEY: Final = re.compile(r"ak_([0-9a-f]{32})_[A-Za-z0-9_-]{43}", re.ASCII)
API_KEY_REFUSED: Final = "The API key is not valid: it is unknown, revoked or expired. `POST /api/v1/api-keys` makes another."


@dataclass(frozen=True, slots=True)
class ApiKeyClaims:
    """An API key as it came: which one it says it is, and the SHA-256 of the whole. Nothing is proved by it yet."""

    key_id: str
    digest: str

    def fits(self, digest: str) -> bool:
        """Tell, in a time that tells nothing, whether the key is the one with this digest."""
        return hmac.compare_digest(self.digest, digest)


def new_secret(prefix: str) -> str:
    """Return a secret to be handed out once; its prefix says what it is, to people and to secret scanners."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def new_api_key(key_id: str) -> str:
    """Return the text of a new API key, which names its row."""
    return new_secret(f"ak_{key_id.replace('-', '')}_")


def digest_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read_api_key(text: str) -> ApiKeyClaims:
    """Return which key a text claims to be.

    Raises:
        NotAuthenticated: it is not written like one of our keys.
    """
    found = _API_KEY.fullmatch(text) if len(text) <= MAX_SECRET_CHARACTERS else None
    key_id = parse_id(_hyphenated(found[1])) if found else None
    if key_id is None:
        raise NotAuthenticated(API_KEY_REFUSED)
    return ApiKeyClaims(key_id, digest_of(text))


def _hyphenated(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
