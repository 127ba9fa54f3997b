"""The world outside: an HTTP server in the test process that counts what reaches it and can hold its answers back."""

import asyncio
import threading
from collections import Counter, defaultdict
from types import TracebackType
from typing import Self

JSON = b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n" + b'{"ok": true}'
ANSWER = b"HTTP/1.1 200 OK\r\n" + JSON
REFUSAL = b"HTTP/1.1 400 Bad Request\r\n" + JSON
HELD = "/held"
START_SECONDS = 5.0


class Sink:
    """Counts effects by Idempotency-Key. Requests whose path begins with `/held` are answered once it was opened.

    `holding` counts those not answered yet, also when the caller has died meanwhile. Paths in `broken` answer 400.
    """

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.holding = 0
        self.broken: set[str] = set()
        self._held: list[asyncio.StreamReader] = []
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="sink", daemon=True)
        self._ready = threading.Event()
        self._port = 0

    def url(self, path: str = "/") -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self._port}{path}"

    @property
    def abandoned(self) -> int:
        """Return how many requests were held whose caller has hung up."""
        return sum(caller.at_eof() or caller.exception() is not None for caller in self._held)

    def open(self, path: str = HELD) -> None:
        """Answer everything that is held under a path, and hold nothing there from now on."""
        self._loop.call_soon_threadsafe(self._gates[path].set)

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        assert self._ready.wait(START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1024)
        )
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._answer_one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
        self.effects[headers.get("idempotency-key", "")] += 1
        path = request.split()[1]
        if path.startswith(HELD):
            self.holding += 1
            self._held.append(reader)
            try:
                await self._gates[path].wait()
            finally:
                self.holding -= 1
        writer.write(REFUSAL if path in self.broken else ANSWER)
        await writer.drain()
