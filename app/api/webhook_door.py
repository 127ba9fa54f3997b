"""The way in for webhook calls, past the framework's routing: what is called most costs half as much by it.

Limits, security headers and error documents are those of every other address; OpenAPI describes it as one of them.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.errors import answer_to

PREFIX: Final = "/api/v1/webhooks/"
Endpoint = Callable[[Request], Awaitable[Response]]


def is_webhook_call(scope: Scope) -> bool:
    """Tell whether a request is for this door; whatever else is below its address is not found as anywhere."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path.startswith(PREFIX) and len(path) > len(PREFIX) and "/" not in path[len(PREFIX) :]


class WebhookDoor:
    """Calls one endpoint as the framework would, with `workflow_id` from the path."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        scope["path_params"] = {"workflow_id": scope["path"][len(PREFIX) :]}
        request = Request(scope, receive, send)
        try:
            response = await self.endpoint(request)
        except Exception as error:
            answer = await answer_to(request, error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)
