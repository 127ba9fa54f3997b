"""The guard around each request: what may be asked, what crosses to another host, how long, how much."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpcore
import httpx

from app.engine.egress.host_guard import HOST_GUARD
from app.engine.egress.inflate import Inflater, Plain, take_decoder
from app.engine.egress.pool import ConnectionPool
from app.engine.egress.run_depth import RUN_DEPTH_HEADER, depth_to_tell
from app.engine.guards.held import Ask
from app.engine.guards.hosts import require_host

CALL = "egress_call"
# Anything else may be a credential: no list of suspicious names would be complete.
KEPT_ON_ANOTHER_HOST = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "connection", "content-encoding", "content-language",
        "content-length", "content-type", "host", "idempotency-key", "transfer-encoding", "user-agent",
    }
)  # fmt: skip


class CallHeld(httpx.ConnectError):
    """A kill switch lets no call out."""


def never_held() -> None:
    """Let every call out."""


class ResponseTooLarge(httpx.DecodingError):
    """The response body, decompressed, is larger than the call allows."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call with all its redirects: where it began, when it must be over, how much it may bring."""

    origin: httpx.URL
    total_seconds: float
    deadline: float
    max_response_bytes: int

    def overdue(self) -> httpx.ReadTimeout:
        """Return the error of a call that took too long."""
        return httpx.ReadTimeout(
            f"{self.origin.host} did not finish within {self.total_seconds:g} seconds in all."
        )


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Sends requests whose extensions carry a `Call`; every redirect passes here too."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, ask: Ask = never_held) -> None:
        self._ask = ask
        context = httpx.create_ssl_context()
        super().__init__(verify=context)
        self._pool = ConnectionPool(backend, context)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            httpx.UnsupportedProtocol: neither http nor https.
            httpx.LocalProtocolError: the URL has no host, a user name, or a port that is none.
            httpx.ConnectError: refused, unknown or blocked; they look alike.
            CallHeld: a kill switch is set.
            PolicyViolation: a policy does not allow the host.
            httpx.ReadTimeout: the whole call took too long.
        """
        call: Call = request.extensions[CALL]
        check_url(request.url)
        held = self._ask()
        if held is not None:
            raise CallHeld(held.reason)
        host = request.url.raw_host.decode("ascii")
        guard = HOST_GUARD.get()
        if guard is not None:
            guard(host)
        require_host(host)
        if not same_place(call.origin, request.url):
            drop_credentials(request.headers)
        depth = depth_to_tell()
        if depth is not None:  # whatever the node says itself
            request.headers[RUN_DEPTH_HEADER] = depth
        try:
            async with asyncio.timeout_at(call.deadline):
                response = await super().handle_async_request(request)
        except TimeoutError:
            raise call.overdue() from None
        decoder = Plain() if request.method == "HEAD" else take_decoder(response.headers)
        response.stream = _BoundedStream(response, call, decoder)
        return response


def check_url(url: httpx.URL) -> None:
    """Refuse a URL that is not a plain http or https address.

    Raises:
        httpx.UnsupportedProtocol: neither http nor https.
        httpx.LocalProtocolError: no host, a user name or password, or a port that is none.
    """
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(
            "The URL must start with http:// or https://, also after a redirect."
        )
    if not url.host:
        raise httpx.LocalProtocolError("The URL names no host.")
    if url.userinfo:
        raise httpx.LocalProtocolError(
            "The URL holds a user name or password: send them in a header instead."
        )
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise httpx.LocalProtocolError("The port of the URL must lie between 1 and 65535.")


def same_place(origin: httpx.URL, url: httpx.URL) -> bool:
    """Tell whether credentials meant for `origin` may go to `url`: same origin, or its upgrade to https."""
    if origin.host != url.host:
        return False
    if origin.scheme == url.scheme:
        return origin.port == url.port
    return (origin.scheme, origin.port, url.scheme, url.port) == ("http", None, "https", None)


def drop_credentials(headers: httpx.Headers) -> None:
    """Remove every header that is not known to be harmless on another host."""
    for name in list(headers.keys()):
        if name.lower() not in KEPT_ON_ANOTHER_HOST:
            del headers[name]


class _BoundedStream(httpx.AsyncByteStream):
    """A response body, decompressed as it comes, within the call's deadline and size."""

    def __init__(self, response: httpx.Response, call: Call, decoder: Plain | Inflater) -> None:
        self._stream, self._call, self._decoder = response.stream, call, decoder

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._stream, httpx.AsyncByteStream)  # noqa: S101 - what httpx gives an async client
        chunks = aiter(self._stream)
        room = self._call.max_response_bytes
        while (chunk := await self._next_chunk(chunks)) is not None:
            for piece in self._decoder.feed(chunk):
                room -= len(piece)
                if room < 0:
                    raise ResponseTooLarge(
                        f"The response is larger than {self._call.max_response_bytes} bytes."
                    )
                yield piece
        self._decoder.finish()

    async def aclose(self) -> None:
        if isinstance(self._stream, httpx.AsyncByteStream):
            await self._stream.aclose()

    async def _next_chunk(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout_at(self._call.deadline):
                return await anext(chunks, None)
        except TimeoutError:
            raise self._call.overdue() from None
