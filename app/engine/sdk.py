"""All that a node author imports. One page: docs/writing-a-node.md.

A node is a class with a `Config` (what the user fills in), an `Output` (what later steps read), and `run`. It answers
from a closed alphabet: return the output, `Done(output, port=…)` or `Suspend(…)`; raise `Retry` or `Fail`. Any other exception is a
failed attempt, which the step's retry policy may try again.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
)

import httpx
from pydantic import BaseModel, ConfigDict, Field

from app.engine.config_fields import (
    CorrelationId,
    EventType,
    Expr,
    expression_field,
    json_schema_field,
)

__all__ = [
    "Context", "CorrelationId", "Done", "EventType", "Expr", "Fail", "Field", "LogLevel", "LoopNode", "Node", "NodeConfig", "NodeOutput", "Retry",
    "Suspend", "expression_field", "json_schema_field",
]  # fmt: skip

LogLevel = Literal["debug", "info", "warning", "error"]
DEFAULT_PORT = "out"


class NodeConfig(BaseModel):
    """Base of a node's config: unknown fields are refused, so that a typo is seen when the workflow is saved."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


class NodeOutput(BaseModel):
    """Base of a node's output."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Done:
    """The step is done. `port` names the edges that are taken; None takes none: the branch stops here."""

    output: Any = None
    port: str | None = DEFAULT_PORT


class Fail(Exception):
    """The attempt failed for good: trying again would not help."""

    def __init__(self, message: str, *, code: str = "node_failed", data: Any = None) -> None:
        super().__init__(message)
        self.message, self.code, self.data = message, code, data


@dataclass(frozen=True, slots=True)
class Suspend:
    """The step waits: no worker is held until a time, an event, people or another run end the wait.

    The node is not called again: whatever ends the wait says what becomes of the step. At `until` that is `on_due`.
    `shown` goes into the run's `waiting_for`; `data` is for the part of the engine that ends this kind of wait.
    """

    kind: Literal["timer", "event", "approval", "run"]
    until: datetime | None = None
    on_due: Done | Fail = Done()
    shown: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


class Retry(Exception):
    """The attempt failed in a way that may pass; the step's retry policy decides whether it is tried again.

    `after_seconds` is the least time to wait, such as a server's Retry-After.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "node_failed",
        after_seconds: float | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.after_seconds, self.data = message, code, after_seconds, data


class Context(Protocol):
    """What an attempt gets from the engine: never a session, never a queue."""

    run_id: str
    step_path: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """Return the key that every attempt of this step carries: send it, so that repetitions can be dropped."""
        ...

    upstream: Mapping[str, Any]
    """Outputs of the steps that led to this one, by id, in the order of the definition."""
    http: httpx.AsyncClient
    """Shared, pooled, and guarded: private addresses are refused unless the operator allows them."""

    timeout_seconds: float | None
    """The step's `timeout_seconds` if the definition gives one: a node that suspends may take it for the wait."""
    ports_in_use: frozenset[str]
    """Names of this step's ports that lead somewhere."""

    def now(self) -> datetime:
        """Return the platform's time, aware, in UTC."""
        ...

    def new_id(self) -> str:
        """Return a fresh id (UUIDv7): later ones sort behind it."""
        ...

    def log(self, message: str, *, level: LogLevel = "info", data: Any = None) -> None:
        """Add a line to the run's log; it is stored with the attempt's result."""
        ...

    def attach_evidence(self, kind: str, content: Any, *, title: str = "") -> None:
        """Put an object, a list or a text on record, with its hash; it is stored with the attempt's result.

        What looks like a credential by its name is masked. Up to 1 MiB in an attempt.
        """
        ...

    def emit_event(
        self, event_type: str, *, correlation_id: str | None = None, payload: Any = None
    ) -> str:
        """Publish an event of the run's owner, in the commit of the attempt's result; returns its id.

        Raises:
            Fail: the step asks the engine for too much.
        """
        ...

    async def start_run(self, workflow: str, value: Any, *, version: int | None = None) -> str:
        """Start a run of another workflow of the same owner, by its id or name, with `value` as input; returns its id.

        It begins with the commit of the attempt's result, if that succeeds or suspends; else never.

        Raises:
            Fail: there is no such workflow or version, it is disabled, or the input does not fit it.
        """
        ...

    def spend(self, name: str, amount: float, unit: str | None = None) -> None:
        """Tell what the attempt has spent of a budget; it is stored with the attempt's result, also if that is a failure.

        Raises:
            Fail: a policy says that the budget was used up before. (Name it in `spends`, and the node is not even called.)
        """
        ...

    def respond(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        """Answer the webhook call that waits for this run, once the attempt's result is stored; the first answer counts."""
        ...


ConfigT = TypeVar("ConfigT", bound=BaseModel)
OutputT = TypeVar("OutputT")


class Node(ABC, Generic[ConfigT, OutputT]):
    """A node type. Subclass it as `Node[Config, Output]`, name its `type`, write `run`; the docstring is its description."""

    type: ClassVar[str]
    title: ClassVar[str] = ""
    """For people; made from `type` when empty."""
    ports: ClassVar[tuple[str, ...]] = (DEFAULT_PORT,)
    """Where edges can leave; `Done.port` must be one of them."""
    on_lost: ClassVar[Literal["retry", "fail", "ask"]] = "retry"
    """What to do when a worker died during an attempt: try again, fail the step (an effect that must not repeat), or ask:
    the run pauses until a person has found out, and resumes or cancels it."""
    pure: ClassVar[bool] = False
    """It only computes: no effect outside, no waiting, nothing that could end its worker. Then an attempt is recorded when it
    has ended, and not when it begins, which saves half the writes; one that a dying worker cuts off leaves no trace."""
    isolation: ClassVar[Literal["none", "process"]] = "none"
    """`process`: each attempt runs in a child process, killed at the timeout; a crash there fails that attempt alone."""
    memory_limit_mb: ClassVar[int] = 512
    """In a child process: what an attempt may allocate, in MiB, on top of what loading the node's file took."""
    spends: ClassVar[tuple[str, ...]] = ()
    """Names of budgets that it tells `context.spend` of: it is not called once one of them is used up."""
    example: ClassVar[Mapping[str, Any]] = {}
    """A config that works, shown in the catalogue; the conformance tests validate it."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse limits that do not hold when the class is defined, so that its file is quarantined with the reason."""
        super().__init_subclass__(**options)
        if cls.on_lost not in {"retry", "fail", "ask"}:
            raise TypeError(f"{cls.__name__}.on_lost must be 'retry', 'fail' or 'ask'")
        if cls.isolation not in {"none", "process"}:
            raise TypeError(f"{cls.__name__}.isolation must be 'none' or 'process'")
        if cls.memory_limit_mb < 1:
            raise TypeError(f"{cls.__name__}.memory_limit_mb must be a number of MiB, such as 512")

    @classmethod
    def ports_of(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ports of a step with this config (as the user wrote it); the same for all unless overridden."""
        del config
        return cls.ports

    @abstractmethod
    def run(
        self, config: ConfigT, context: Context
    ) -> OutputT | Done | Suspend | Awaitable[OutputT | Done | Suspend]:
        """Do the work of one attempt: `async def` runs on the event loop, plain `def` in a thread of its own."""


class LoopNode(Node[ConfigT, OutputT]):
    """A node type that the engine carries out itself: it runs the step's own `steps` again and again."""

    def run(self, config: ConfigT, context: Context) -> OutputT | Done:
        """Never called: a loop has iterations, not attempts."""
        del config, context
        raise TypeError(f"{self.type} is carried out by the engine")


def node_models(node: type[Node[Any, Any]]) -> tuple[type[BaseModel], Any]:
    """Return the (config model, output type) that a node class was declared with.

    Raises:
        TypeError: when the class does not subclass `Node[Config, Output]`.
    """
    for base in getattr(node, "__orig_bases__", ()):
        if get_origin(base) in {Node, LoopNode}:
            config, output = get_args(base)
            if isinstance(config, type) and issubclass(config, BaseModel):
                return config, output
    raise TypeError(
        f"{node.__name__} must subclass Node[Config, Output], with a Pydantic model as Config"
    )
