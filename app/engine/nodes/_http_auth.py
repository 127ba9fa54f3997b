"""How `http_request_node` sends a request in the name of a credential."""

import base64
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.engine.sdk import Context, Credential, Fail

KINDS = ("bearer", "basic", "api_key_header", "hmac", "oauth2_client_credentials")
"""Those that can be sent with a request."""
UNAUTHORIZED = 401


@asynccontextmanager
async def exchange(
    context: Context, request: Mapping[str, Any], credential: str | None, *, follow: bool
) -> AsyncIterator[httpx.Response]:
    """Send what `build_request` takes; an access token that is refused is replaced once.

    Raises:
        Fail: the credential may not be sent to this host, or sets a header that is set already.
        Retry: no access token could be fetched.
    """
    response = await _send(context, request, credential, follow=follow)
    if response.extensions.get("may_renew") and response.status_code == UNAUTHORIZED:
        await response.aclose()
        response = await _send(context, request, credential, follow=follow, fresh=True)
    try:
        yield response
    finally:
        await response.aclose()


async def _send(
    context: Context,
    given: Mapping[str, Any],
    name: str | None,
    *,
    follow: bool,
    fresh: bool = False,
) -> httpx.Response:
    request = context.http.build_request(**given)
    renews = False
    if name is not None:
        host = request.url.raw_host.decode()
        credential = await context.credential(name, host=host, fresh=fresh)
        _authorize(request, credential)
        renews = "access_token" in credential and not fresh
    response = await context.http.send(request, stream=True, follow_redirects=follow)
    # On another host the token was not sent, so it is not what was refused.
    response.extensions["may_renew"] = renews and not response.history
    return response


def _authorize(request: httpx.Request, credential: Credential) -> None:
    header, value = _header(credential, request.content)
    if header in request.headers:
        raise Fail(
            f"The header {header} comes from the credential {credential.name!r}: leave it out of `headers`.",
            code="invalid_request",
        )
    request.headers[header] = value


def _header(credential: Credential, body: bytes) -> tuple[str, str]:
    match credential.kind:
        case "bearer":
            return "Authorization", f"Bearer {credential['token']}"
        case "basic":
            pair = f"{credential['username']}:{credential['password']}".encode()
            return "Authorization", f"Basic {base64.b64encode(pair).decode()}"
        case "api_key_header":
            return credential["header"], credential["value"]
        case "hmac":
            algorithm = credential["algorithm"]
            key = credential["secret"].encode()
            return (
                credential["header"],
                f"{algorithm}={hmac.new(key, body, algorithm).hexdigest()}",
            )
        case _:
            return "Authorization", f"Bearer {credential['access_token']}"
