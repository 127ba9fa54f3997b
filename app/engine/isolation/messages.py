"""What worker and child say to each other: JSON, each message after its length. Never pickle.

The worker sends one `Hello`, then `Request`s. The child answers the Hello with `{"ready": true}` or `{"error": …}`, and
each Request with any number of `{"log": LogLine}` and one `{"outcome": …, "commands": […], "uses": […], "spent": …}`. Before each
outbound call it sends `{"call": true}`; the worker answers with `{"held": null}`, or with what keeps the call back.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from app.engine.planning.record import read_wait
from app.engine.planning.transitions import Failed, Outcome, Succeeded, Suspended

LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child is for."""

    type: str
    module: str
    path: str
    memory_limit_mb: int
    max_output_bytes: int
    egress_allow: Sequence[str]
    log_level: str
    log_format: Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt: what `AttemptContext` holds, and the config, rendered but for its bare expressions."""

    run_id: str
    step_path: str
    attempt: int
    now: str
    """The platform's time, in ISO 8601: the child's clock runs on from it."""
    config: dict[str, Any]
    expressions: Sequence[tuple[Sequence[str | int], str]]
    """Their places in the config, and their text; `scope` is what they see."""
    scope: Mapping[str, Any]
    upstream: Mapping[str, Any]
    ports: Sequence[str]
    timeout_seconds: float | None = None
    ports_in_use: Sequence[str] = ()
    hosts: Sequence[Mapping[str, Any]] = ()
    """What policies say of the hosts that it calls: a `HostLimit` each."""
    secrets: Mapping[str, Any] | None = None
    """What `AttemptSecrets.for_a_child` gives: the credentials of this attempt alone."""
    depth: int = 0
    """How deep the run lies below the trigger that no run has made."""


class Channel:
    """The child's end. Several threads may send."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._incoming = end.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message."""
        self.send_bytes(packed(message))

    def send_bytes(self, message: bytes) -> None:
        """Send a message that was packed before."""
        with self._sending:
            self._end.sendall(message)

    def receive(self) -> Any:
        """Return the next message; None when the worker is gone."""
        length = self._incoming.read(LENGTH.size)
        if len(length) < LENGTH.size:
            return None
        return orjson.loads(self._incoming.read(*LENGTH.unpack(length)))


def packed(message: Any) -> bytes:
    """Return a message as it is sent."""
    body = orjson.dumps(message)
    return LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader, max_bytes: int) -> Any:
    """Return the child's next message.

    Raises:
        EOFError: the child is gone.
        ValueError: what it sends is no message.
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > max_bytes:
        raise ValueError(f"a message of {length:,} bytes")
    return orjson.loads(await reader.readexactly(length))


def pack_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON."""
    match outcome:
        case Succeeded():
            return {"succeeded": asdict(outcome)}
        case Failed():
            return {"failed": asdict(outcome)}
        case Suspended(wait, on_due, data):
            return {"suspended": {"wait": wait.stored, "on_due": on_due, "data": data}}


def unpack_outcome(message: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a child sent."""
    if "failed" in message:
        return Failed(**message["failed"])
    suspended = message.get("suspended")
    if suspended is None:
        return Succeeded(**message["succeeded"])
    wait = read_wait(suspended["wait"])
    if wait is None:
        raise ValueError("a wait for nothing")
    return Suspended(wait, suspended["on_due"], suspended["data"])
