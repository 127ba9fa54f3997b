"""A server in a thread that gives back what it is sent, in many clothes, and access tokens to those who ask for one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from tests.integration.engine.vault import Echo
from tests.unit.egress.loopback import reply

START_SECONDS = 5.0


class TokenEcho(Echo):
    """Gives the access token to whoever asks for one at `/token`."""

    access_token = ""

    def answer(self, request: bytes) -> bytes:
        """Answer one request."""
        if not request.startswith(b"POST /token"):
            return super().answer(request)
        told = {"access_token": self.access_token, "token_type": "Bearer", "expires_in": 3600}
        kind = "Content-Type: application/json\r\nConnection: close\r\n"
        return reply(body=orjson.dumps(told), headers=kind)


@contextmanager
def echo_in_a_thread() -> Iterator[TokenEcho]:
    """Serve until the block ends."""
    echo, loop, ready = TokenEcho(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(echo.handle, "127.0.0.1", 0)
        echo.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(START_SECONDS)
    yield echo
    loop.call_soon_threadsafe(stopped.set)
    thread.join(START_SECONDS)
    loop.close()
