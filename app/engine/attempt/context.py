"""What a node gets from the engine for one attempt, and what of its words is kept."""

import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import httpx
import orjson
from pydantic_core import to_jsonable_python

from app.core.clock import Clock
from app.core.ids import new_id
from app.engine.attempt.masking import masked, may_hide
from app.engine.evidence.attaching import attached
from app.engine.sdk import Fail, LogLevel

CommandKind = Literal["evidence", "event", "run", "response", "spend"]
MAX_LOG_LINES = 1_000
MAX_COMMANDS = 100
"""Of one attempt."""
MAX_COMMAND_BYTES = 1024 * 1024
"""Of one attempt, all of them together, as JSON."""
MAX_MESSAGE_CHARACTERS = 2_000
_NUL = b"\\u0000"
_BUDGET = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MAX_UNIT = 32
MAX_DATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a node wrote."""

    at: datetime
    level: str
    message: str
    data: Any


@dataclass(frozen=True, slots=True)
class Command:
    """What a node asks the engine to do. It takes effect in the commit of the attempt's result, or not at all.

    `data` is JSON; `app.engine.commands` says what each kind holds.
    """

    kind: CommandKind
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A version of a workflow of which a run may be started, on these grounds."""

    workflow_id: str
    version_id: str
    version: int
    context: Mapping[str, Any] | None = None


FindTarget = Callable[[str, int | None, Any], Awaitable[Target]]
"""Finds a workflow of the run's owner by id or name, and version, for an input; raises Fail."""


@dataclass(slots=True)
class AttemptContext:
    """What a node gets from the engine for one attempt (`app.engine.sdk.Context`)."""

    run_id: str
    step_path: str
    attempt: int
    http: httpx.AsyncClient
    clock: Clock
    upstream: Mapping[str, Any] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    ordered_bytes: int = 0
    timeout_seconds: float | None = None
    find_target: FindTarget | None = None
    """None where no database is at hand: in a process of its own, and in `node test`."""
    ports_in_use: frozenset[str] = frozenset()
    used_up: Callable[[str], str | None] | None = None
    """Tells why nothing more may be spent of a budget; None where nobody knows."""
    input: Any = None
    """The config after its expressions, as it is kept in the history."""

    @property
    def idempotency_key(self) -> str:
        """Return the key that every attempt of this step carries."""
        return f"{self.run_id}:{self.step_path}"

    def now(self) -> datetime:
        """Return the platform's time, aware, in UTC."""
        return self.clock.now()

    def new_id(self) -> str:
        """Return a fresh id."""
        return new_id()

    def log(self, message: str, *, level: LogLevel = "info", data: Any = None) -> None:
        """Add a line to the run's log; beyond the limit, lines are dropped."""
        if len(self.lines) < MAX_LOG_LINES:
            self.keep(LogLine(self.clock.now(), level, cut(str(message)), storable(data)))

    def attach_evidence(self, kind: str, content: Any, *, title: str = "") -> None:
        """Put something on record with the attempt; secrets in it are masked.

        Raises:
            Fail: it has no kind, is no JSON object, list or text, or is too much.
        """
        try:
            encoded = encode(content)
        except (ValueError, TypeError, RecursionError) as error:
            message = cut(f"The evidence cannot be stored as JSON: {error}")
            raise Fail(message, code="invalid_evidence") from None
        self.order("evidence", attached(cut(kind), encoded, cut(title), self.now()))

    async def start_run(self, workflow: str, value: Any, *, version: int | None = None) -> str:
        """Order a run of another workflow; returns its id.

        Raises:
            Fail: it cannot be started.
        """
        if self.find_target is None:
            raise Fail(
                "Runs can be started by steps of a worker only, not by isolated ones or by `node test`.",
                code="runs_cannot_start_here",
            )
        target = await self.find_target(workflow, version, value)
        run_id = new_id()
        self.order("run", {"id": run_id, **asdict(target), "input": value, "at": self.now()})
        return run_id

    def emit_event(
        self, event_type: str, *, correlation_id: str | None = None, payload: Any = None
    ) -> str:
        """Publish an event in the commit of the attempt's result; returns its id."""
        event_id = new_id()
        self.order(
            "event",
            {
                "id": event_id,
                "type": event_type,
                "correlation_id": correlation_id,
                "payload": payload,
            },
        )
        return event_id

    def order(self, kind: CommandKind, data: Mapping[str, Any]) -> None:
        """Ask the engine for something.

        Raises:
            Fail: the node asks for too much.
        """
        encoded = encode(data)
        self.ordered_bytes += len(encoded)
        if len(self.commands) >= MAX_COMMANDS or self.ordered_bytes > MAX_COMMAND_BYTES:
            raise Fail(
                f"A step may attach, emit and start {MAX_COMMANDS} things at most, of {MAX_COMMAND_BYTES // 1024} KiB in "
                "all: use more steps, or references to where the data is.",
                code="too_many_commands",
            )
        self.commands.append(Command(kind, orjson.loads(encoded)))

    def spend(self, name: str, amount: float, unit: str | None = None) -> None:
        """Tell what was spent of a budget.

        Raises:
            Fail: the budget was used up before, or this is no amount.
        """
        if not (_BUDGET.fullmatch(name) and 0 <= amount < math.inf and len(unit or "") <= MAX_UNIT):
            message = "What is spent needs the name of a budget, such as llm_usd, and an amount that is not negative."
            raise Fail(message, code="invalid_spend")
        spent = {"name": name, "amount": float(amount), "unit": unit, "at": self.now()}
        self.order("spend", spent)
        refusal = self.used_up(name) if self.used_up is not None else None
        if refusal is not None:
            raise Fail(refusal, code="budget_used_up")

    def respond(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        """Answer the webhook call that waits for this run.

        Raises:
            Fail: the answer is too large.
        """
        self.order("response", {"status": status, "headers": headers, "body": body})

    def keep(self, line: LogLine) -> None:
        """Take in a line."""
        self.lines.append(line)


def cut(text: str) -> str:
    """Return text that both databases can keep, at a length that is read."""
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def storable(data: Any) -> Any:
    """Return data that goes with a log line or an error, or a note that it could not be kept."""
    if data is None:
        return None
    try:
        encoded = encode(data)
    except (ValueError, TypeError, RecursionError):
        return "(data that cannot be stored as JSON)"
    return orjson.loads(encoded) if len(encoded) <= MAX_DATA_BYTES else "(data larger than 16 KiB)"


def kept_input(config: Mapping[str, Any]) -> Any:
    """Return a rendered config (plain JSON) as the history keeps it, or a note that it is too large.

    As JSON that is ready to be written, or a copy without what looks like a secret.
    """
    encoded = orjson.dumps(config)
    if len(encoded) > MAX_DATA_BYTES or _NUL in encoded:
        return "(a config larger than 16 KiB, or with NUL characters)"
    return masked(encoded) if may_hide(encoded) else orjson.Fragment(encoded)


def encode(value: Any) -> bytes:
    """Return a value as JSON; unlike orjson alone, refuse NaN and infinities rather than storing null."""
    encoded = orjson.dumps(value, default=to_jsonable_python)
    if b"null" in encoded:  # it may stand for what is no number
        json.dumps(value, allow_nan=False, default=str)
    if _NUL in encoded:
        raise ValueError("it holds a NUL character, which databases do not keep: remove it")
    return encoded
