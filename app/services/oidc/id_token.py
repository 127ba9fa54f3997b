"""What an id_token must be to count: signed by the provider with RS256 or ES256, made for us, just now, for this attempt.

Nothing in the token chooses how it is verified: `none` and HS256 (with the public key as its secret) are refused by name.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from authlib.oauth2.claims import ClaimsOption
from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from app.core.errors import MalformedBody
from app.core.json_guard import parse_json

KEY_TYPES: Final = {"RS256": "RSA", "ES256": "EC"}
MIN_RSA_BITS: Final = 2048
LEEWAY_SECONDS: Final = 60
MAX_TOKEN_CHARACTERS: Final = 32_768
MAX_SUBJECT_CHARACTERS: Final = 255
Key = RSAKey | ECKey


class IdTokenRefused(Exception):
    """The id_token does not count; the text says why, for the operator's log."""


class UnknownKey(IdTokenRefused):
    """The token names a key that the provider's key set does not hold: it may have been replaced."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the claims must say."""

    issuer: str
    client_id: str
    nonce: str
    now: datetime


def usable_keys(key_set: Mapping[str, Any]) -> list[Key]:
    """Return the keys of a provider's key set that may sign id_tokens; others are passed over."""
    found = key_set.get("keys")
    return [*_keys(found)] if isinstance(found, list) else []


def verify(token: str, keys: Sequence[Key], expected: Expected) -> Mapping[str, Any]:
    """Return the claims of an id_token that counts.

    Raises:
        UnknownKey: it names a key that is not among these.
        IdTokenRefused: it does not count.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise IdTokenRefused("it is too long, or not ASCII")
    try:
        claims, header = _signed_claims(token, keys)
        _check(claims, header, expected)
    except (JoseError, MalformedBody, ValueError, TypeError) as error:
        raise IdTokenRefused(str(error)) from None
    return claims


def _signed_claims(token: str, keys: Sequence[Key]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    shown = jws.extract_compact(token.encode())
    header = shown.headers()
    algorithm = header.get("alg")
    kind = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
    if kind is None:
        raise IdTokenRefused(f"it is signed with {algorithm!r}")
    key = _key_for(header.get("kid"), [key for key in keys if key.key_type == kind])
    if not jws.validate_compact(shown, key, algorithms=[str(algorithm)]):
        raise IdTokenRefused("its signature does not hold")
    claims = parse_json(shown.payload)
    if not isinstance(claims, dict):
        raise IdTokenRefused("its claims are no object")
    return claims, header


def _key_for(key_id: object, keys: Sequence[Key]) -> Key:
    fitting = [key for key in keys if key_id is None or key.kid == key_id]
    if len(fitting) != 1:
        raise UnknownKey(f"no single key is named {key_id!r}")
    return fitting[0]


def _check(claims: dict[str, Any], header: Mapping[str, Any], expected: Expected) -> None:
    options: dict[str, ClaimsOption] = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "nonce": {"essential": True, "value": expected.nonce},
    }
    params = {"client_id": expected.client_id, "nonce": expected.nonce}
    token = CodeIDToken(claims, dict(header), options, params)
    token.validate(now=int(expected.now.timestamp()), leeway=LEEWAY_SECONDS)
    if not isinstance(claims["nonce"], str) or type(claims["exp"]) not in (int, float):
        raise IdTokenRefused("`nonce` or `exp` has the wrong type")
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT_CHARACTERS:
        raise IdTokenRefused("`sub` is empty or too long")


def _keys(found: Iterable[Any]) -> Iterable[Key]:
    for data in found:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig":
            continue
        try:
            if data.get("kty") == "RSA":
                yield from _strong_enough(data)
            elif data.get("kty") == "EC" and data.get("crv") == "P-256":
                yield ECKey.import_key(data)
        except (JoseError, ValueError, TypeError, KeyError):
            continue


def _strong_enough(data: dict[str, Any]) -> Iterable[Key]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # it speaks of what is passed over here
        key = RSAKey.import_key(data)
    if key.raw_value.key_size >= MIN_RSA_BITS:
        yield key
