"""What a node gets from the engine for one attempt, and what of its words is kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import orjson
from pydantic_core import to_jsonable_python

from app.core.clock import Clock
from app.engine.sdk import LogLevel

MAX_LOG_LINES = 1_000
MAX_MESSAGE_CHARACTERS = 2_000
_NUL = b"\\u0000"
MAX_DATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a node wrote."""

    at: datetime
    level: str
    message: str
    data: Any


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

    @property
    def idempotency_key(self) -> str:
        """Return the key that every attempt of this step carries."""
        return f"{self.run_id}:{self.step_path}"

    def now(self) -> datetime:
        """Return the platform's time, aware, in UTC."""
        return self.clock.now()

    def log(self, message: str, *, level: LogLevel = "info", data: Any = None) -> None:
        """Add a line to the run's log; beyond the limit, lines are dropped."""
        if len(self.lines) < MAX_LOG_LINES:
            self.keep(LogLine(self.clock.now(), level, cut(str(message)), storable(data)))

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


def encode(value: Any) -> bytes:
    """Return a value as JSON; unlike orjson alone, refuse NaN and infinities rather than storing null."""
    json.dumps(value, allow_nan=False, default=str)
    encoded = orjson.dumps(value, default=to_jsonable_python)
    if _NUL in encoded:
        raise ValueError("it holds a NUL character, which databases do not keep: remove it")
    return encoded
