"""Signatures of webhook calls: HMAC-SHA256 over the raw body, as each kind of sender writes it.

Pure: headers, bytes and a time go in; what the delivery is known by comes out, or one refusal, whatever was sent.

| scheme | signed | written in |
|---|---|---|
| `standard` | id.timestamp.body | webhook-id, webhook-timestamp, webhook-signature: `v1,<base64>` |
| `github` | body | X-Hub-Signature-256: `sha256=<hex>`; X-GitHub-Delivery is not signed |
| `stripe` | timestamp.body | Stripe-Signature: `t=<timestamp>,v1=<hex>` |
| `slack` | v0:timestamp:body | X-Slack-Signature: `v0=<hex>`, X-Slack-Request-Timestamp |
| `hmac` | body | a header of the workflow's choice: hex or base64, with or without `sha256=` |
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.core.statuses import WebhookScheme

TOLERANCE_SECONDS: Final = 300
DEFAULT_HEADER: Final = "X-Signature"
MIN_SECRET_BYTES: Final = 16
MAX_SECRET_CHARACTERS: Final = 500
GENERATED_BYTES: Final = 32
PREFIX: Final = "whsec_"
SIGNATURE_HEADERS: Final = frozenset(
    {"webhook-signature", "x-hub-signature", "x-hub-signature-256", "stripe-signature"}
    | {"x-slack-signature", DEFAULT_HEADER.lower()}
)
_MAX_SIGNATURES: Final = 16
"""In one header; senders that rotate their secret write two."""
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_TIME: Final = re.compile(r"[0-9]{1,12}")
_ID: Final = re.compile(r"[!-~]{1,200}")
Headers = Mapping[str, str]


class SignatureRefused(Exception):
    """No signature of the call holds, or what it signs is too old."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A call whose signature holds, and what it is known by when it comes again."""

    key: str
    """SHA-256 over what tells this delivery from others, so that a changed unsigned header makes no other one of it."""
    id: str | None
    """The sender's own name for it, which stays the same when they send it again."""
    timed: bool
    """It holds a signed time: once too old, it is refused for that alone."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a call says of itself."""

    signatures: Sequence[bytes]
    signed_before_body: str = ""
    sent_at: int | None = None
    id: str | None = None
    known_by: str = ""
    """What, with the body, tells it from other deliveries."""


def verify(
    scheme: WebhookScheme,
    keys: Sequence[bytes],
    headers: Headers,
    body: bytes,
    now: float,
    header: str | None = None,
) -> Delivery:
    """Return the delivery that was signed with one of the keys; `header` is where scheme `hmac` finds the signature.

    Raises:
        SignatureRefused: there is no signature that holds, or its time is more than 5 minutes away.
    """
    claim = _READERS[scheme](headers, header or DEFAULT_HEADER)
    if claim.sent_at is not None and abs(now - claim.sent_at) > TOLERANCE_SECONDS:
        raise SignatureRefused
    before = claim.signed_before_body.encode()
    if not any(_holds(key, before, body, claim.signatures) for key in keys):
        raise SignatureRefused
    digest = hashlib.sha256(f"{scheme}\n{claim.known_by}\n".encode())
    digest.update(body)
    return Delivery(digest.hexdigest(), claim.id, timed=claim.sent_at is not None)


def signing_key(scheme: WebhookScheme, secret: str) -> bytes:
    """Return the bytes that a secret stands for.

    Raises:
        ValueError: it cannot be used; the sentence says how to mend it.
    """
    key = secret.encode()
    if scheme is WebhookScheme.STANDARD:
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(
                f"A secret of scheme `standard` is `{PREFIX}` and base64: copy it as the sender shows it, or leave it out "
                "and take the one that is made."
            ) from None
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(
            f"The secret is too short: it needs {MIN_SECRET_BYTES} bytes or more, such as from `openssl rand -hex 32`; "
            "leave it out, and one is made."
        )
    return key


def new_secret(scheme: WebhookScheme) -> str:
    """Return a fresh secret of 256 bits, in the form that senders of that scheme use."""
    key = random.token_bytes(GENERATED_BYTES)
    if scheme in (WebhookScheme.STANDARD, WebhookScheme.STRIPE):
        return PREFIX + base64.b64encode(key).decode()
    return key.hex()


def _holds(key: bytes, before: bytes, body: bytes, signatures: Sequence[bytes]) -> bool:
    signer = hmac.new(key, before, hashlib.sha256)
    signer.update(body)
    expected = signer.digest()
    found = False
    for signature in signatures:  # all of them, in the same time whichever it is
        found |= hmac.compare_digest(expected, signature)
    return found


def _standard(headers: Headers, _header: str) -> _Claim:
    id_, sent_at = headers.get("webhook-id", ""), _time(headers.get("webhook-timestamp", ""))
    if not _ID.fullmatch(id_):
        raise SignatureRefused
    parts = headers.get("webhook-signature", "").split(" ")
    signatures = [part.removeprefix("v1,") for part in parts if part.startswith("v1,")]
    return _Claim(_read(signatures, _base64), f"{id_}.{sent_at}.", int(sent_at), id_, id_)


def _github(headers: Headers, _header: str) -> _Claim:
    id_ = headers.get("x-github-delivery")
    if id_ is not None and not _ID.fullmatch(id_):
        raise SignatureRefused
    return _Claim(_read(_after("sha256=", [headers.get("x-hub-signature-256", "")]), _hex), id=id_)


def _stripe(headers: Headers, _header: str) -> _Claim:
    parts = [part.strip() for part in headers.get("stripe-signature", "").split(",")]
    times = _after("t=", parts)
    if len(times) != 1:
        raise SignatureRefused
    sent_at = _time(times[0])
    signatures = _read(_after("v1=", parts), _hex)
    return _Claim(signatures, f"{sent_at}.", int(sent_at), known_by=sent_at)


def _slack(headers: Headers, _header: str) -> _Claim:
    sent_at = _time(headers.get("x-slack-request-timestamp", ""))
    signatures = _read(_after("v0=", [headers.get("x-slack-signature", "")]), _hex)
    return _Claim(signatures, f"v0:{sent_at}:", int(sent_at), known_by=sent_at)


def _hmac(headers: Headers, header: str) -> _Claim:
    text = headers.get(header.lower(), "").removeprefix("sha256=")
    return _Claim(_read([text], _hex if _HEX.fullmatch(text) else _base64))


_READERS: Final[Mapping[WebhookScheme, Callable[[Headers, str], _Claim]]] = {
    WebhookScheme.STANDARD: _standard,
    WebhookScheme.GITHUB: _github,
    WebhookScheme.STRIPE: _stripe,
    WebhookScheme.SLACK: _slack,
    WebhookScheme.HMAC: _hmac,
}


def _time(text: str) -> str:
    """Return seconds since 1970 as they were written: so they were signed."""
    if not _TIME.fullmatch(text):
        raise SignatureRefused
    return text


def _after(prefix: str, parts: Sequence[str]) -> list[str]:
    return [part.removeprefix(prefix) for part in parts if part.startswith(prefix)]


def _read(texts: Sequence[str], read: Callable[[str], bytes | None]) -> list[bytes]:
    """Return the signatures that are written as they should be; others are of kinds that we do not check."""
    found = [read(text) for text in texts[:_MAX_SIGNATURES]]
    signatures = [signature for signature in found if signature is not None]
    if not signatures:
        raise SignatureRefused
    return signatures


def _hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if _HEX.fullmatch(text) else None


def _base64(text: str) -> bytes | None:
    return base64.b64decode(text) if _BASE64.fullmatch(text) else None
