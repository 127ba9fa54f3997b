"""What node tests use in place of the engine: a context, and expressions made of Python functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from app.engine.sdk import Expr, LogLevel

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@dataclass
class FakeContext:
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False))
    run_id: str = "0190b0c8-0000-7000-8000-000000000001"
    step_path: str = "fetch"
    attempt: int = 1
    idempotency_key: str = "0190b0c8-0000-7000-8000-000000000001:fetch"
    upstream: Mapping[str, Any] = field(default_factory=dict)
    ports_in_use: frozenset[str] = frozenset()
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[str, LogLevel, Any]] = field(default_factory=list)
    timeout_seconds: float | None = None
    started: list[tuple[str, Any, int | None]] = field(default_factory=list)
    evidence: list[tuple[str, Any, str]] = field(default_factory=list)
    responses: list[tuple[int, Mapping[str, str], Any]] = field(default_factory=list)
    spent: list[tuple[str, float, str | None]] = field(default_factory=list)

    def now(self) -> datetime:
        return NOW

    def new_id(self) -> str:
        return "0190b0c8-0000-7000-8000-000000000002"

    def emit_event(
        self, event_type: str, *, correlation_id: str | None = None, payload: Any = None
    ) -> str:
        self.events.append(
            {"type": event_type, "correlation_id": correlation_id, "payload": payload}
        )
        return f"event-{len(self.events)}"

    def log(self, message: str, *, level: LogLevel = "info", data: Any = None) -> None:
        self.lines.append((message, level, data))

    def attach_evidence(self, kind: str, content: Any, *, title: str = "") -> None:
        self.evidence.append((kind, content, title))

    async def start_run(self, workflow: str, value: Any, *, version: int | None = None) -> str:
        self.started.append((workflow, value, version))
        return "0190b0c8-0000-7000-8000-000000000002"

    def spend(self, name: str, amount: float, unit: str | None = None) -> None:
        self.spent.append((name, amount, unit))

    def respond(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        self.responses.append((status, headers, body))


@dataclass(frozen=True)
class _Function:
    function: Callable[[Mapping[str, Any]], Any]

    def evaluate(self, local: Mapping[str, Any]) -> Any:
        return self.function(local)

    def deferred(self) -> dict[str, Any]:
        return {"source": "a function", "scope": {}}


def expression(function: Callable[[Mapping[str, Any]], Any]) -> Expr:
    """Return a bound expression that calls `function` with the locals."""
    return Expr(_Function(function))
