"""One attempt at a step: resolve its config, validate it, call the node under a deadline, normalise what it answers."""

import asyncio
import contextvars
import inspect
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import CoroutineType, FrameType
from typing import Any

import httpx
import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from app.core.clock import Clock
from app.core.errors import AutomateError
from app.core.logging import get_logger
from app.engine.language.expressions import Expression
from app.engine.language.plan import Step
from app.engine.language.problems import from_validation
from app.engine.planning.transitions import Failed, Outcome, Succeeded
from app.engine.registry import NodeType
from app.engine.sdk import Done, Expr, Fail, LogLevel, Retry

MAX_LOG_LINES = 1_000
MAX_MESSAGE_CHARACTERS = 2_000
MAX_DATA_BYTES = 16 * 1024
_NUL = b"\\u0000"
CANCEL_GRACE_SECONDS = 1.0
log = get_logger(__name__)


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
            self.lines.append(LogLine(self.clock.now(), level, _cut(str(message)), _storable(data)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything that one attempt needs: what to run, on what data, for how long."""

    step: Step
    node: NodeType
    scope: Mapping[str, Any]
    context: AttemptContext
    timeout_seconds: float
    max_output_bytes: int


@dataclass(frozen=True, slots=True)
class _Bound:
    """An expression with the scope that it sees."""

    expression: Expression
    scope: Mapping[str, Any]

    def evaluate(self, local: Mapping[str, Any]) -> Any:
        return self.expression.evaluate({**self.scope, **local} if local else self.scope)


class NodeBlockedLoop(BaseException):
    """Raised by the watchdog inside a node that holds up every other run. No node catches it by accident."""


class _Refused(Exception):  # carries an outcome from a stage to `run_attempt`
    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


async def run_attempt(attempt: Attempt) -> Outcome:
    """Return how the attempt ended; never raises for what the node or its data did."""
    try:
        config = _validate(attempt, _resolve(attempt))
        answer = await _call(attempt, config)
        return _normalise(attempt, answer)
    except _Refused as refused:
        return refused.failed


def _resolve(attempt: Attempt) -> dict[str, Any]:
    try:
        config: dict[str, Any] = attempt.step.config.render(attempt.scope)
    except AutomateError as error:
        raise _Refused(Failed(error.code, error.detail, again=False)) from None
    for name, expression in attempt.step.expressions.items():
        config[name] = Expr(_Bound(expression, attempt.scope))
    return config


def _validate(attempt: Attempt, config: dict[str, Any]) -> BaseModel:
    try:
        return attempt.node.config.model_validate(config)
    except ValidationError as error:
        problems = from_validation(error, attempt.node.config, config)
        faults = "; ".join(f"{problem.pointer or '/'}: {problem.detail}" for problem in problems)
        message = _cut(f"The config does not fit once its expressions are evaluated: {faults}")
        raise _Refused(Failed("invalid_config", message, again=False)) from None


async def _call(attempt: Attempt, config: BaseModel) -> Any:
    """Return what the node answered, or refuse with how it failed."""
    work = asyncio.create_task(_start(attempt, config))
    try:
        await asyncio.wait({work}, timeout=attempt.timeout_seconds)
    finally:
        slow = not work.done()
        if slow:
            await _abandon(work, attempt)
    if slow:
        raise _Refused(_too_slow(attempt))
    if work.cancelled():
        raise _Refused(Failed("node_error", "The node cancelled itself."))
    error = work.exception()
    if error is not None:
        raise _Refused(_failure(error, attempt))
    return work.result()


def _failure(error: BaseException, attempt: Attempt) -> Failed:
    match error:
        case Retry():
            data = _storable(error.data)
            return Failed(
                _cut(error.code), _cut(error.message), after_seconds=error.after_seconds, data=data
            )
        case Fail():
            return Failed(
                _cut(error.code), _cut(error.message), again=False, data=_storable(error.data)
            )
        case AutomateError():
            return Failed(error.code, _cut(error.detail), again=False)
        case NodeBlockedLoop():
            message = "The node blocked the event loop: write `def run` (it gets a thread) or await what it waits for."
            return Failed("node_blocked_loop", message)
        case _:
            log.info(
                "node_raised", step=attempt.step.id, run_id=attempt.context.run_id, exc_info=error
            )
            return Failed("node_error", _cut(f"{type(error).__name__}: {error}"))


async def _start(attempt: Attempt, config: BaseModel) -> Any:
    run = attempt.node.node.run
    try:
        if inspect.iscoroutinefunction(run):
            return await run(config, attempt.context)
        return await _in_thread(
            lambda: run(config, attempt.context), f"step-{attempt.context.step_path}"
        )
    except (
        SystemExit,
        KeyboardInterrupt,
    ) as leaving:  # these would end the event loop, and every run in it
        raise RuntimeError(f"the node raised {type(leaving).__name__}") from leaving


def is_node_frame(frame: FrameType | None) -> bool:
    """Tell whether a frame of the main thread is inside a node's own code."""
    while frame is not None:
        if frame.f_code is _start.__code__:
            return True
        frame = frame.f_back
    return False


async def _in_thread(work: Callable[[], Any], name: str) -> Any:
    """Run blocking work in a daemon thread of its own: one that hangs starves no pool and stops no exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error is not None else future.set_result(result)

    def body() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = work()
        except StopIteration:
            error = RuntimeError("the node raised StopIteration")
        except BaseException as raised:  # noqa: BLE001 - carried to the attempt, which decides
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(body,), name=name, daemon=True).start()
    return await future


async def _abandon(work: asyncio.Task[Any], attempt: Attempt) -> None:
    """Cancel a node's work; one that swallows the cancellation is closed, which `except` cannot swallow."""
    work.cancel()
    await asyncio.wait({work}, timeout=CANCEL_GRACE_SECONDS)
    if not work.done():
        log.warning(
            "node_ignores_cancellation", step=attempt.step.id, run_id=attempt.context.run_id
        )
        _close(work)
        await asyncio.wait({work}, timeout=CANCEL_GRACE_SECONDS)
    if work.done() and not work.cancelled():
        work.exception()  # seen, so that asyncio does not report it as never retrieved


def _close(work: asyncio.Task[Any]) -> None:
    coroutine = work.get_coro()
    try:
        if isinstance(coroutine, CoroutineType):
            coroutine.close()
    except RuntimeError as error:  # it ignores even that; it is left behind, parked
        log.warning("node_cannot_be_closed", error=str(error))
    work.cancel()


def _normalise(attempt: Attempt, answer: Any) -> Succeeded:
    done = answer if isinstance(answer, Done) else Done(answer)
    if done.port is not None and done.port not in attempt.node.info.ports:
        ports = ", ".join(attempt.node.info.ports)
        raise _Refused(
            Failed("unknown_port", f"The node answered with port {done.port!r}; it has: {ports}.")
        )
    try:
        encoded = _encode(attempt.node.output.dump_python(done.output, warnings=False))
    except (ValueError, TypeError, RecursionError) as error:
        message = _cut(f"The node's output cannot be stored as JSON: {error}")
        raise _Refused(Failed("invalid_output", message, again=False)) from None
    if len(encoded) > attempt.max_output_bytes:
        message = (
            f"The output is {len(encoded):,} bytes of JSON; at most {attempt.max_output_bytes:,} are kept: "
            "return less, or a reference to where the data is."
        )
        raise _Refused(Failed("output_too_large", message, again=False))
    return Succeeded(orjson.loads(encoded), done.port, len(encoded))


def _too_slow(attempt: Attempt) -> Failed:
    message = f"The step took longer than {attempt.timeout_seconds:g} s and was interrupted."
    return Failed("step_timed_out", message, timed_out=True)


def _cut(text: str) -> str:
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def _storable(data: Any) -> Any:
    """Return data that goes with a log line or an error, or a note that it could not be kept."""
    if data is None:
        return None
    try:
        encoded = _encode(data)
    except (ValueError, TypeError, RecursionError):
        return "(data that cannot be stored as JSON)"
    return orjson.loads(encoded) if len(encoded) <= MAX_DATA_BYTES else "(data larger than 16 KiB)"


def _encode(value: Any) -> bytes:
    """Return a value as JSON; unlike orjson alone, refuse NaN and infinities rather than storing null."""
    json.dumps(value, allow_nan=False, default=str)
    encoded = orjson.dumps(value, default=to_jsonable_python)
    if _NUL in encoded:
        raise ValueError("it holds a NUL character, which databases do not keep: remove it")
    return encoded
