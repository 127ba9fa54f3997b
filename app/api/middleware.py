"""What stands before every request, as plain ASGI: limits, headers for browsers, and the last resort."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import INTERNAL_ERROR, problem_of, problem_of_crash, problem_response
from app.api.refusals import count_refusal
from app.core.errors import (
    AutomateError,
    BodyTooLarge,
    BodyTooSlow,
    MalformedBody,
    UnsupportedMedia,
)

MAX_HEADER_BYTES: Final = 32 * 1024
HEADERS_TOO_LARGE: Final = "headers_too_large"
API_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; sandbox"
DOCS_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
DOCS_PATH: Final = "/docs"
_COMMON_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_API_HEADERS: Final = [*_COMMON_HEADERS, (b"content-security-policy", API_POLICY)]
_DOCS_HEADERS: Final = [*_COMMON_HEADERS, (b"content-security-policy", DOCS_POLICY)]
_NO_STORE: Final = (b"cache-control", b"no-store")


class SecurityHeaders:
    """Tells browsers to take answers for what they are, and to run nothing but our own documentation page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ours = _DOCS_HEADERS if scope["path"].startswith(DOCS_PATH) else _API_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *ours]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_headers)


class LastResort:
    """Turns an exception that nobody expected into a plain 500, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; nothing but cancellation gets past."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - this is the last resort
            response = problem_of_crash(error)
            if not started:
                count_refusal(scope, INTERNAL_ERROR)
                await response(scope, receive, send)


class RequestGuard:
    """Refuses what is too large, too slow or packed, before anything is made of it."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, body_seconds: float) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the head of the request, and count its body while it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            count_refusal(scope, HEADERS_TOO_LARGE)
            response = problem_response(
                431,
                HEADERS_TOO_LARGE,
                f"The headers exceed {MAX_HEADER_BYTES // 1024} KiB: send less.",
            )
            await response(scope, receive, send)
            return
        try:
            self._check_head(scope)
        except AutomateError as error:
            count_refusal(scope, error.code)
            await problem_of(error)(scope, receive, send)
            return
        await self.app(scope, self._watching(receive), send)

    def _check_head(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia(
                "Compressed bodies are not taken: send it without Content-Encoding."
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise MalformedBody("Content-Length must be a number of bytes.")
        if int(length) > self.max_body_bytes:
            raise self._too_large()
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            raise MalformedBody("The address holds a NUL character (%00): remove it.")

    def _watching(self, receive: Receive) -> Receive:
        """Return a `receive` that counts the body, and waits for its end no longer than it may take."""
        size = 0
        deadline: float | None = asyncio.get_running_loop().time() + self.body_seconds

        async def receive_watched() -> Message:
            nonlocal size, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow from None
            size += len(message.get("body", b""))
            if size > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                deadline = None
            return message

        return receive_watched

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self.max_body_bytes} bytes: send less, or store it elsewhere and send its address."
        )
