"""The `http_request_node` node type."""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import httpx
import pydantic_core
from pydantic import AfterValidator, model_validator

from app.engine.nodes._http_auth import KINDS, exchange
from app.engine.nodes._http_response import body_of, evidence_of, read_body, retry_after, text_of
from app.engine.sdk import (
    Context,
    CredentialName,
    Fail,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
    Retry,
    credential_field,
)

CONNECT_SECONDS = 10.0
EXCERPT_CHARACTERS = 2_000
SET_BY_THE_PLATFORM = re.compile(
    r"connection|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade",
    re.IGNORECASE,
)


@lru_cache(maxsize=256)
def _parse(url: str) -> httpx.URL:
    """Return a URL, which nobody changes: the same ones are called again and again.

    Raises:
        httpx.InvalidURL: it is none.
    """
    return httpx.URL(url)


def _check_url(value: str) -> str:
    try:
        url = _parse(value)
    except httpx.InvalidURL as error:
        raise ValueError(f"is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an address such as https://api.example.com/orders")
    if url.userinfo:
        raise ValueError("must hold no user name or password: send them in a header")
    return value


def _check_header_name(name: str) -> str:
    if SET_BY_THE_PLATFORM.fullmatch(name):
        raise ValueError(f"`{name}` is set by the platform: leave it out")
    return name


def _check_range(value: str) -> str:
    low, high = value.split("-")
    if low > high:
        raise ValueError(f"must go upwards: {high}-{low}")
    return value


Scalar = str | int | float | bool | None
Fields = dict[str, Scalar | list[Scalar]]
Url = Annotated[str, AfterValidator(_check_url)]
# Lengths stand beside the patterns: `{0,8192}` within one took 12 MB of every process.
HeaderName = Annotated[
    str,
    Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=256),
    AfterValidator(_check_header_name),
]
HeaderValue = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$", max_length=8192, coerce_numbers_to_str=True),
]
Status = Annotated[int, Field(ge=100, le=599)]
StatusRange = Annotated[
    str, Field(pattern=r"^[1-5][0-9]{2}-[1-5][0-9]{2}$"), AfterValidator(_check_range)
]


class Config(NodeConfig):
    """The request, and what to expect of the response."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = Field(
        default="GET", description="The HTTP method.", examples=["POST"]
    )
    url: Url = Field(
        description="Where to send it: an http or https address. Inner addresses are refused unless the operator opens them.",
        examples=["https://api.example.com/orders/${{ url_encode(input.order_id) }}"],
    )
    query: Fields = Field(
        default_factory=dict,
        description="Parameters to add to the URL; a list repeats its name, null leaves it out.",
        examples=[{"page": 1, "tag": ["new", "paid"]}],
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Headers to send. `Idempotency-Key` and `User-Agent` are sent by default.",
        examples=[{"Accept": "application/json"}],
    )
    json_body: Any = Field(
        default=None, description="JSON to send as the body.", examples=[{"id": "${{ input.id }}"}]
    )
    form: Fields | None = Field(
        default=None, description="Form fields to send as the body.", examples=[{"name": "Ada"}]
    )
    text: str | None = Field(default=None, description="Text to send as the body.")
    credential: CredentialName | None = credential_field(
        kinds=KINDS,
        default=None,
        description="A credential of the workflow's owner to send or sign with; the URL's host must be among its `allowed_hosts`.",
        examples=["crm"],
    )
    timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=300,
        description="How long the whole call may take, redirects and body included.",
    )
    expected_status: list[Status | StatusRange] = Field(
        default=["200-299"],
        min_length=1,
        description="Statuses that are a success; any other one fails the attempt.",
        examples=[["200-299", 404]],
    )
    response: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="How to read the body; `auto` goes by the response's Content-Type.",
    )
    max_response_bytes: int = Field(
        default=1_048_576,
        ge=1,
        le=10_485_760,
        description="Largest response body, decompressed, that is taken.",
    )
    follow_redirects: bool | None = Field(
        default=None,
        description="Whether to follow redirects, five at most. Unset: for GET and HEAD alone, because a redirected POST silently becomes a GET.",
    )
    evidence: bool = Field(
        default=False,
        description="Whether to put the call on record: address, status, times, and bodies by their hash; credentials are masked.",
    )

    @model_validator(mode="after")
    def _one_body(self) -> "Config":
        given = self.model_fields_set & {"json_body"}
        given |= {name for name in ("form", "text") if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(f"takes one body only: keep one of {', '.join(sorted(given))}")
        return self


class Output(NodeOutput):
    """The response."""

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="Its headers, by lower-case name.")
    body: Any = Field(description="The body: JSON when it says so, else text.")
    elapsed_seconds: float = Field(description="How long the whole call took.")


class HttpRequest(Node[Config, Output]):
    """Send an HTTP request and return the response.

    A status that is not expected fails the attempt; 408, 425, 429, 5xx and lost connections may be tried again by the step's
    retry policy, no earlier than the response's Retry-After says. Every attempt sends the same `Idempotency-Key`, so that
    the other side can drop repetitions.
    """

    type = "http_request_node"
    takes_secrets = True
    title = "HTTP request"
    example = {
        "method": "POST",
        "url": "https://api.example.com/orders/${{ url_encode(input.order_id) }}",
        "headers": {"Accept": "application/json"},
        "json_body": {"total": "${{ input.total }}"},
        "timeout_seconds": 20,
    }

    async def run(self, config: Config, context: Context) -> Output:
        """Send the request and read the response."""
        started, sent_at = time.perf_counter(), context.now()
        try:
            request = _request_of(config, context.idempotency_key)
            follow = _follows(config)
            async with exchange(context, request, config.credential, follow=follow) as response:
                content = await read_body(response, config.max_response_bytes)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure_of(error) from None
        if config.evidence:
            told = {**evidence_of(response, content, sent_at), "elapsed_seconds": _since(started)}
            title = f"{config.method} {response.url.host}: {response.status_code}"
            context.attach_evidence("http_call", told, title=title)
        if not _is_expected(response.status_code, config.expected_status):
            raise _unexpected(response, content, context)
        return Output(
            status=response.status_code,
            headers=dict(response.headers.items()),
            body=body_of(response, content, config.response),
            elapsed_seconds=_since(started),
        )


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 6)


def _request_of(config: Config, idempotency_key: str) -> dict[str, Any]:
    """Return what `httpx.AsyncClient.build_request` takes."""
    total, given = config.timeout_seconds, config.headers.items()
    headers = httpx.Headers([(name.encode(), value.encode()) for name, value in given])
    headers.setdefault("Idempotency-Key", idempotency_key)
    return {
        "method": config.method,
        "url": _url_of(config),
        "headers": headers,
        "timeout": httpx.Timeout(total, connect=min(total, CONNECT_SECONDS)),
        "extensions": {"total_seconds": total},
        **_content_of(config, headers),
    }


def _follows(config: Config) -> bool:
    given = config.follow_redirects
    return config.method in ("GET", "HEAD") if given is None else given


def _url_of(config: Config) -> httpx.URL:
    url, query = _parse(config.url), _without_nulls(config.query)
    # Merging writes the whole query anew, which would break a signed URL.
    return url.copy_merge_params(query) if query else url


def _content_of(config: Config, headers: httpx.Headers) -> dict[str, Any]:
    if config.text is not None:
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return {"content": config.text.encode()}
    if config.form is not None:
        return {"data": _without_nulls(config.form)}
    if "json_body" in config.model_fields_set:
        headers.setdefault("Content-Type", "application/json")
        return {"content": pydantic_core.to_json(config.json_body)}
    return {}


def _without_nulls(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _failure_of(error: httpx.HTTPError | httpx.InvalidURL) -> Fail | Retry:
    """Tell what may pass when it is tried again from what will not."""
    message = str(error) or "the server did not answer in time, or went away."
    match error:
        case httpx.ConnectError():
            return Retry(message, code="connect_failed")
        case httpx.TimeoutException():
            return Retry(message, code="timeout")
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return Fail(message, code="invalid_request")
        case httpx.TooManyRedirects():
            return Fail("The server redirects in circles.", code="too_many_redirects")
        case httpx.DecodingError():
            return Fail(message, code="invalid_response")
        case _:
            return Retry(f"The connection was lost: {message}", code="connection_lost")


def _is_expected(status: int, expected: Sequence[int | str]) -> bool:
    for entry in expected:
        low, _, high = str(entry).partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


def _unexpected(response: httpx.Response, content: bytes, context: Context) -> Fail | Retry:
    status = response.status_code
    message = f"{response.url.host} answered {status} {response.reason_phrase}".strip() + "."
    shown = context.hide(text_of(response, content))[:EXCERPT_CHARACTERS]
    data = {"status": status, "body": shown}
    if response.has_redirect_location:
        message += " It redirects: set `follow_redirects`, or call the new address."
    if status not in (408, 425, 429) and status < 500:
        return Fail(message, code="unexpected_status", data=data)
    after = retry_after(response, context) if status in (429, 503) else None
    return Retry(message, code="unexpected_status", after_seconds=after, data=data)
