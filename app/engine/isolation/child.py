"""A child process, as the worker sees it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.logging import get_logger
from app.engine.attempt.answers import OUT_OF_MEMORY, Refused
from app.engine.attempt.context import MAX_COMMAND_BYTES, AttemptContext, Command, LogLine
from app.engine.guards.attempt import current_guard
from app.engine.guards.held import Held
from app.engine.isolation.messages import Hello, Request, packed, receive, unpack_outcome
from app.engine.planning.transitions import Failed, Outcome

ROOT = Path(__file__).resolve().parents[3]
GUARD = Path(__file__).with_name("guard.py")
RUN = "import sys; sys.path.insert(0, sys.argv[1]); from app.engine.isolation.runner import main; main()"
STDERR = 2
START_SECONDS = 30.0
KILL_SECONDS = 5.0
MAX_ATTEMPTS = 100
MAX_OVERHEAD_BYTES = 64 * 1024 + MAX_COMMAND_BYTES
"""What a message may hold beside a step's output."""
ENVIRONMENT = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
    "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""What a child finds of the worker's environment: names that hold no secrets."""
_SIGNALS = {number.value: number.name for number in signal.Signals}
log = get_logger(__name__)


class Child:
    """A process that carries out attempts of one node type, one at a time."""

    def __init__(
        self,
        hello: Hello,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.type = hello.type
        self._max_bytes = hello.max_output_bytes + MAX_OVERHEAD_BYTES
        self._process, self._reader, self._writer = process, reader, writer
        self._attempts = 0
        self._clean = True

    @property
    def usable(self) -> bool:
        """Tell whether it can be given another attempt."""
        alive = self._process.returncode is None and not self._reader.at_eof()
        return self._clean and alive and self._attempts < MAX_ATTEMPTS

    @classmethod
    async def start(cls, hello: Hello) -> "Child":
        """Start a process and wait until it is ready.

        Raises:
            Refused: the node's file does not load there, or not in time.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *_command(),
                    stdin=theirs.fileno(),
                    stdout=STDERR,
                    env=_environment(),
                    start_new_session=True,
                )
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise Refused(_not_started(error.strerror or str(error))) from None
            raise
        child = cls(hello, process, reader, writer)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._greet(hello)
        except TimeoutError:
            await child.end()
            raise Refused(_not_started(f"it was not ready after {START_SECONDS:g} s")) from None
        except BaseException:
            await asyncio.shield(child.end())
            raise
        return child

    async def _greet(self, hello: Hello) -> None:
        try:
            self._writer.write(packed(hello))
            answer = await receive(self._reader, self._max_bytes)
        except (EOFError, OSError):
            raise Refused(await self._crashed()) from None
        if "error" in answer:
            raise Refused(_not_started(answer["error"]))

    async def attempt(self, request: Request, context: AttemptContext) -> Outcome:
        """Carry out an attempt; log lines reach `context` as they are written.

        Afterwards, and when it is cancelled, give it another attempt only if it is `usable`.
        """
        message = packed(request)
        self._clean = False
        self._attempts += 1
        try:
            self._writer.write(message)
            await self._writer.drain()
            while "outcome" not in (reply := await receive(self._reader, self._max_bytes)):
                if "call" in reply:
                    self._writer.write(packed({"held": _held_call()}))
                else:
                    _relay(reply["log"], context)
            outcome = unpack_outcome(reply["outcome"])
            context.commands += [Command(**command) for command in reply.get("commands", ())]
        except (EOFError, OSError):
            return await self._crashed()
        except (ValueError, TypeError, KeyError):
            return Failed("node_crashed", "The node's process wrote into the engine's connection.")
        self._clean = not reply["spent"]
        return outcome

    async def end(self) -> None:
        """Kill it with everything that it started, and wait until it is gone."""
        self._writer.transport.abort()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), KILL_SECONDS)
        except TimeoutError:
            log.warning("isolated_process_stuck", type=self.type, pid=self._process.pid)
            self._process.kill()
            await self._process.wait()

    async def _crashed(self) -> Failed:
        """Return the failure of an attempt whose process is gone: its end hung up, so it is about to be reaped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), KILL_SECONDS)
        return _failure(self._process.returncode)


def _command() -> list[str]:
    runner = [sys.executable, "-P", "-u", "-c", RUN, str(ROOT)]
    return [sys.executable, "-I", "-S", str(GUARD), *runner]


def _environment() -> dict[str, str]:
    given = os.environ  # noqa: TID251 - what a child inherits, not a setting
    # One arena: each further one would take 64 MiB of the address space that the memory limit counts.
    return {name: given[name] for name in ENVIRONMENT if name in given} | {"MALLOC_ARENA_MAX": "1"}


def _relay(line: Mapping[str, Any], context: AttemptContext) -> None:
    context.keep(LogLine(context.now(), line["level"], line["message"], line["data"]))


def _held_call() -> Held | None:
    guard = current_guard()
    return None if guard is None else guard.of_call()


def _not_started(reason: str) -> Failed:
    return Failed("node_not_started", f"A process for the node could not be started: {reason}")


def _failure(code: int | None) -> Failed:
    if code == -signal.SIGKILL:
        message = "The node's process was killed (SIGKILL), most likely because the machine ran out of memory."
        return Failed(OUT_OF_MEMORY, message)
    if code is None:
        how = "without a word"
    elif code < 0:
        how = f"with signal {_SIGNALS.get(-code, -code)}"
    else:
        how = f"with exit code {code}"
    return Failed("node_crashed", f"The node's process ended {how} before the node answered.")
