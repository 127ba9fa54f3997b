"""The child process: load one node's file, then carry out its attempts, one after the other."""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import os
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from app.core.clock import SyncedClock
from app.core.logging import configure_logging
from app.engine.attempt.answers import OUT_OF_MEMORY, Refused, failure, normalise
from app.engine.attempt.config import complete
from app.engine.attempt.context import AttemptContext, LogLine
from app.engine.attempt.secrets import secrets_of_a_child
from app.engine.egress.client import build_client
from app.engine.egress.host_guard import guarded_by
from app.engine.egress.policy import build_policy
from app.engine.egress.run_depth import calling_at
from app.engine.guards.held import Held
from app.engine.guards.hosts import HostLimit, calling_by, rule_of
from app.engine.isolation.messages import Channel, Hello, Request, pack_outcome, packed
from app.engine.language.expressions import compile_expression
from app.engine.planning.transitions import Failed, Outcome
from app.engine.registry import Catalogue, NodeType, import_file

MEBIBYTE = 1024 * 1024
FIRST_TO_DIE = "1000"
THREADS_OF_OURS = ("MainThread", "asyncio_")


@dataclass(slots=True)
class RelayedContext(AttemptContext):
    """A context whose log lines go to the worker at once, so that they outlive a crash."""

    channel: Channel | None = None

    def keep(self, line: LogLine) -> None:
        """Send a line to the worker."""
        super(RelayedContext, self).keep(line)  # a class with slots has no `super()` of its own
        if self.channel is not None:
            self.channel.send({"log": self.lines[-1]})


class Runner:
    """One node type, and what its attempts share."""

    def __init__(self, channel: Channel, node: NodeType, hello: Hello) -> None:
        self._channel = channel
        self._node = node
        self._max_output_bytes = hello.max_output_bytes
        self._loop = asyncio.new_event_loop()
        self._http = build_client(build_policy(hello.egress_allow), ask=self._ask_before_call)
        self._pid = os.getpid()
        failed = Failed(
            OUT_OF_MEMORY, f"The step needed more than {hello.memory_limit_mb} MiB of memory."
        )
        self._out_of_memory = packed({"outcome": pack_outcome(failed), "spent": True})

    def serve(self) -> None:
        """Carry out attempts until the worker is gone."""
        while (message := self._channel.receive()) is not None:
            try:
                reply = self._attempt(Request(**message))
            except MemoryError:
                reply = self._out_of_memory
            if os.getpid() != self._pid:  # a fork of the node's that came back from `run`
                os._exit(0)
            self._channel.send_bytes(reply)

    def _attempt(self, request: Request) -> bytes:
        clock = SyncedClock()
        clock.sync(datetime.fromisoformat(request.now), clock.monotonic())
        context = RelayedContext(
            request.run_id,
            request.step_path,
            request.attempt,
            self._http,
            clock,
            request.upstream,
            timeout_seconds=request.timeout_seconds,
            ports_in_use=frozenset(request.ports_in_use),
            channel=self._channel,
        )
        if request.secrets is not None:
            context.secrets = secrets_of_a_child(request.secrets)
            context.scrubber = context.secrets.scrubber
        hosts = rule_of([HostLimit(**limit) for limit in request.hosts])
        with calling_by(hosts), calling_at(request.depth):
            outcome = self._outcome(request, context)
        context.channel = None  # what a straggler logs would land in the next attempt's log
        return packed(
            {
                "outcome": pack_outcome(outcome),
                "commands": context.commands,
                "uses": [] if context.secrets is None else [*context.secrets.uses],
                "spent": self._left_something(),
            }
        )

    def _outcome(self, request: Request, context: RelayedContext) -> Outcome:
        try:
            expressions = {
                tuple(path): compile_expression(source) for path, source in request.expressions
            }
            config = complete(self._node.config, request.config, expressions, request.scope)
            with guarded_by(None if context.secrets is None else context.secrets.guard):
                answer = self._run(config, context)
            return normalise(answer, request.ports, self._node.output, self._max_output_bytes)
        except Refused as refused:
            return refused.failed
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - a node may raise anything, SystemExit included
            return failure(error, context)

    def _run(self, config: Any, context: RelayedContext) -> Any:
        run = self._node.node.run
        if inspect.iscoroutinefunction(run):
            return self._loop.run_until_complete(run(config, context))
        return run(config, context)

    def _ask_before_call(self) -> Held | None:
        """Ask the worker, which knows the kill switches, and answers at once."""
        self._channel.send({"call": True})
        answer = self._channel.receive()
        if answer is None:
            raise EOFError("the worker is gone")
        return None if answer["held"] is None else Held(**answer["held"])

    def _left_something(self) -> bool:
        """Tell whether a task, thread or process of the attempt lives on: it must not meet the next attempt."""
        threads = any(
            not thread.name.startswith(THREADS_OF_OURS) for thread in threading.enumerate()
        )
        return threads or bool(asyncio.all_tasks(self._loop)) or _has_children()


def main() -> None:
    """Serve the worker at the other end of standard input."""
    channel = _take_channel()
    hello = Hello(**channel.receive())
    configure_logging(hello.log_level, hello.log_format)
    with contextlib.suppress(OSError):  # if memory runs out, the kernel is to choose this process
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE)
    catalogue = Catalogue()
    catalogue.load(hello.path, _modules(hello))
    node = catalogue.get(hello.type)
    if node is None:
        reasons = [failed.error for failed in catalogue.failures]
        channel.send({"error": (reasons or ["the file no longer defines this node type"])[0]})
        return
    runner = Runner(channel, node, hello)
    _limit_memory(hello.memory_limit_mb)
    channel.send({"ready": True})
    runner.serve()


def _take_channel() -> Channel:
    """Keep the socket to ourselves, away from the node and from programs that it starts."""
    end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return Channel(end)


def _modules(hello: Hello) -> Iterator[ModuleType]:
    if importlib.util.find_spec(hello.module) is not None:
        yield importlib.import_module(hello.module)
    else:
        yield from import_file(hello.module, Path(hello.path))


def _limit_memory(mebibytes: int) -> None:
    """Limit the address space to what it is now plus the node's own (Linux; elsewhere the kernel takes no such limit)."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + mebibytes * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _has_children() -> bool:
    """Tell whether a process that the node started lives on; those that ended are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
