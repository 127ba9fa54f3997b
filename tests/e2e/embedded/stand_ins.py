"""Small processes in place of the API and a worker: `stand_ins.py api|worker|stubborn` (ignores TERM)."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from app.core.clock import SystemClock


def note(event: str) -> None:
    """Append what happened, with our process id, to DATA_DIR/events."""
    with (Path(os.environ["DATA_DIR"]) / "events").open("a") as events:  # noqa: TID251 - a stand-in has no settings
        events.write(f"{event} {os.getpid()} {SystemClock().monotonic()}\n")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer any request with 200."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


async def main(role: str) -> None:
    """Serve or idle until TERM."""
    stop = asyncio.Event()
    handler = (lambda: note("ignored")) if role == "stubborn" else stop.set
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handler)
    if role == "api":
        await asyncio.start_server(answer, os.environ["HOST"], int(os.environ["PORT"]))  # noqa: TID251 - as above
    note(f"{role}-started")
    await stop.wait()
    note(f"{role}-stopped")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
