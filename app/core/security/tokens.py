"""Access tokens: JWTs signed with HS256 by python-jose, behind a guard.

Unguarded, python-jose takes unknown `crit` headers and dates that are strings, and a nested header ends in a
RecursionError; so shape and algorithm are checked here before it sees a token (RFC 8725).
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from jose import jwt

from app.core.errors import NotAuthenticated
from app.core.ids import parse_id

ALGORITHM: Final = "HS256"
MAX_TOKEN_BYTES: Final = 4096
MAX_CLOCK_SKEW_SECONDS: Final = 60
_REMEMBERED_TOKENS = 4096
_HEADER_FIELDS = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """Who calls. Holds only while the user's `token_version` is still this one, and the session has not ended.

    Times are seconds since 1970.
    """

    user_id: str
    token_version: int
    issued_at: int
    expires_at: int
    session_id: str | None = None
    """The session that it belongs to; None: it ends by its time or version only."""


def issue_token(
    key: str,
    user_id: str,
    token_version: int,
    now: datetime,
    minutes: int,
    session_id: str | None = None,
) -> str:
    """Return a signed access token."""
    issued_at = int(now.timestamp())
    claims = {
        "sub": user_id,
        "ver": token_version,
        "iat": issued_at,
        "exp": issued_at + minutes * 60,
    }
    if session_id is not None:
        claims["sid"] = session_id
    return str(jwt.encode(claims, key, algorithm=ALGORITHM))


def read_token(key: str, text: str, now: datetime) -> TokenClaims:
    """Return what a token says.

    Raises:
        NotAuthenticated: it is not ours, was changed, or has expired.
    """
    claims = _verified(key, text)
    seconds = now.timestamp()
    if claims.expires_at <= seconds:
        raise NotAuthenticated("The access token has expired: log in again.")
    if claims.issued_at > seconds + MAX_CLOCK_SKEW_SECONDS:
        raise NotAuthenticated("The access token was issued in the future: log in again.")
    return claims


@lru_cache(maxsize=_REMEMBERED_TOKENS)
def _verified(key: str, text: str) -> TokenClaims:
    """Return the claims of a token whose signature holds; times are for the caller to judge."""
    if not _has_our_header(text):
        raise _refusal()
    try:
        claims = jwt.decode(
            text, key, algorithms=[ALGORITHM], options={"verify_exp": False, "verify_aud": False}
        )
    except Exception:  # noqa: BLE001 - whatever python-jose stumbles over, the token is no good
        raise _refusal() from None
    return _typed(claims)


def _has_our_header(text: str) -> bool:
    if len(text) > MAX_TOKEN_BYTES or not text.isascii() or text.count(".") != 2:
        return False
    encoded = text.partition(".")[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, orjson.JSONDecodeError):
        return False
    return (
        isinstance(header, dict)
        and header.keys() <= _HEADER_FIELDS
        and header.get("alg") == ALGORITHM
        and header.get("typ", "JWT") == "JWT"
        and isinstance(header.get("kid", ""), str)
    )


def _typed(claims: dict[str, Any]) -> TokenClaims:
    session_id = _id(claims, "sid") if "sid" in claims else None
    return TokenClaims(
        _id(claims, "sub"),
        _integer(claims, "ver"),
        _integer(claims, "iat"),
        _integer(claims, "exp"),
        session_id,
    )


def _id(claims: dict[str, Any], name: str) -> str:
    text = claims.get(name)
    if not isinstance(text, str) or parse_id(text) != text:
        raise _refusal()
    return text


def _integer(claims: dict[str, Any], name: str) -> int:
    number = claims.get(name)
    if type(number) is not int:
        raise _refusal()
    return number


def _refusal() -> NotAuthenticated:
    return NotAuthenticated("The access token is not valid: log in again.")
