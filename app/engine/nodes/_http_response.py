"""What `http_request_node` makes of a response: its body, when to try again, and the evidence of the call."""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pydantic_core

from app.engine.sdk import Context, Fail

JSON_TYPE = re.compile(r"(application|text)/([\w.+-]+\+)?json\b", re.ASCII | re.IGNORECASE)
# Python also knows codecs that are no charsets, some of them slow enough to stall a worker.
TEXT_CHARSET = re.compile(
    r"(?ai)(utf-?(8|16|32)|(us-)?ascii|iso-?8859|latin|windows-|cp\d|koi8|shift|euc|gb|big5|mac)"
)
MAX_RETRY_AFTER_SECONDS = 86_400.0
MAX_SHOWN_BODY_BYTES = 16 * 1024
SHOWN_HEADERS = (
    "content-type", "content-length", "content-encoding", "date", "etag", "last-modified", "location", "retry-after",
    "server", "x-request-id",
)  # fmt: skip
"""What a response's evidence tells of its headers."""


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return a body of so many bytes at most.

    Raises:
        Fail: it is larger.
    """
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limit:
            raise Fail(
                f"The response is larger than {limit} bytes: raise `max_response_bytes` or ask for less.",
                code="response_too_large",
            )
    return bytes(content)


def body_of(response: httpx.Response, content: bytes, form: str) -> Any:
    """Return a body as JSON or text, as its type or the config says.

    Raises:
        Fail: it is not the JSON that it should be.
    """
    content_type = response.headers.get("content-type", "")
    if form == "text" or (form == "auto" and not JSON_TYPE.match(content_type)):
        return text_of(response, content)
    if not content.strip():
        return None
    try:
        return pydantic_core.from_json(content.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError as error:
        raise Fail(
            f"The response is not valid JSON ({error}): set `response` to `text` to read it as it is.",
            code="invalid_response",
        ) from None


def text_of(response: httpx.Response, content: bytes) -> str:
    """Return a body as text."""
    charset = response.encoding or ""
    return content.decode(charset if TEXT_CHARSET.match(charset) else "utf-8", errors="replace")


def evidence_of(response: httpx.Response, content: bytes, sent_at: datetime) -> dict[str, Any]:
    """Return what a call can show for itself; bodies by their hash, and in full when they are small."""
    first = (*response.history, response)[0].request
    headers = response.headers
    return {
        "request": {
            "method": first.method,
            "url": str(first.url),
            "idempotency_key": first.headers.get("idempotency-key"),
            "body": _hashed(first.content),
            "sent_at": sent_at.isoformat(),
        },
        "response": {
            "status": response.status_code,
            "url": str(response.url),
            "headers": {name: headers[name] for name in SHOWN_HEADERS if name in headers},
            "body": {**_hashed(content), "content": _shown(response, content)},
        },
    }


def _hashed(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _shown(response: httpx.Response, content: bytes) -> Any:
    if len(content) > MAX_SHOWN_BODY_BYTES:
        return None
    try:
        return pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError:
        return text_of(response, content).replace("\x00", "\ufffd")


def retry_after(response: httpx.Response, context: Context) -> float | None:
    """Return how long the server asks to wait (RFC 9110, section 10.2.3): seconds, or until a date."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,10}", value, re.ASCII):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - context.now()).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
