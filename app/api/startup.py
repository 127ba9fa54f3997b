"""How an API process starts: what an operator reads when it cannot, and whom it does not outlive."""

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess
from typing import NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from app.core.errors import ConfigurationError


def end_with_parent() -> None:
    """End this process as soon as the one is gone that has started it beside others (uvicorn's `--workers`).

    Nobody would stop it any more, and the port would stay taken.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), name="parent", daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def refuse_to_start(error: ConfigurationError) -> NoReturn:
    """Say what does not hold, and end in the way that keeps uvicorn from starting the process again and again."""
    sys.stderr.write(f"{error.detail}\n")
    sys.exit(STARTUP_FAILURE)


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
