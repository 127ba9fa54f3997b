"""What an operator reads when the server cannot start: the sentence, not the traceback behind it."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import ConfigurationError


class StartupSentence:
    """Tells the server why it cannot start (ASGI lifespan protocol, `lifespan.startup.failed`)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; a start that fails for a setting is told in its own words."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_sentence(message: Message) -> None:
            fault = sys.exc_info()[1]  # Starlette sends while it handles the exception
            if message["type"] == "lifespan.startup.failed" and isinstance(
                fault, ConfigurationError
            ):
                message = {**message, "message": fault.detail}
            await send(message)

        try:
            await self.app(scope, receive, send_sentence)
        except ConfigurationError:
            return  # told above
