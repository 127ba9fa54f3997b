"""How JSON endpoints read their body: the content type first, then one guarded parse."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from fastapi import params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import UnsupportedMedia
from app.core.json_guard import parse_json

JSON_TYPE: Final = "application/json"
FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
RouteHandler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRequest(Request):
    """A request whose JSON goes through the guard."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            MalformedBody: no JSON, or JSON beyond the limits.
        """
        return parse_json(await self.body())


class GuardedRoute(APIRoute):
    """A route that refuses other content types than its body's, and reads JSON through the guard."""

    def get_route_handler(self) -> RouteHandler:
        """Return the handler, behind the guard."""
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        takes_form = self.body_field is not None and isinstance(
            self.body_field.field_info, params.Form
        )
        allowed = FORM_TYPES if takes_form else (JSON_TYPE,)
        takes_body = self.body_field is not None

        async def handle_guarded(request: Request) -> Response:
            if takes_body and has_body(request) and not _is_allowed(media_type(request), allowed):
                raise UnsupportedMedia(f"Send the body with Content-Type: {allowed[0]}.")
            return await handle(GuardedRequest(request.scope, request.receive))

        return handle_guarded


def has_body(request: Request) -> bool:
    """Tell whether a request announces a body."""
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def media_type(request: Request) -> str:
    """Return the content type in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Tell whether a media type is JSON (RFC 6839: also anything that ends in `+json`)."""
    return content_type == JSON_TYPE or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )


def _is_allowed(content_type: str, allowed: tuple[str, ...]) -> bool:
    return content_type in allowed or (JSON_TYPE in allowed and is_json(content_type))
