"""One attempt at a step: render its config, call the node under a deadline, in the worker or in a process of its own."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import CoroutineType, FrameType
from typing import Any, TypeVar

from pydantic import BaseModel

from app.core.errors import AutomateError
from app.core.logging import get_logger
from app.engine.attempt.answers import Refused, failure, normalise, scrubbed
from app.engine.attempt.config import complete
from app.engine.attempt.context import AttemptContext, cut, kept_input
from app.engine.attempt.secrets import AttemptSecrets, HostNotAllowed
from app.engine.attempt.unlocking import unlock
from app.engine.egress.host_guard import guarded_by
from app.engine.egress.run_depth import current_depth
from app.engine.guards.host_names import plain_host
from app.engine.guards.hosts import calling_by, hosts_in, rule_of
from app.engine.guards.steps import StepRules
from app.engine.isolation.messages import Request
from app.engine.isolation.pool import ChildPool
from app.engine.language.input_schema import schema_problems
from app.engine.language.plan import Step
from app.engine.planning.transitions import Failed, Outcome
from app.engine.registry import NodeType
from app.engine.sdk import Fail, Retry

CANCEL_GRACE_SECONDS = 1.0
log = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything that one attempt needs: what to run, on what data, for how long."""

    step: Step
    node: NodeType
    scope: Mapping[str, Any]
    context: AttemptContext
    children: ChildPool
    deadline: datetime | None
    """When the run's own time is up."""
    max_output_bytes: int
    rules: StepRules | None = None
    """What policies say; None: nothing."""

    def seconds_left(self) -> float | None:
        """Return the time until the run's deadline; None when it has none."""
        if self.deadline is None:
            return None
        return max(0.0, (self.deadline - self.context.now()).total_seconds())


class NodeBlockedLoop(BaseException):
    """Raised by the watchdog inside a node that holds up every other run. No node catches it by accident."""


async def run_attempt(attempt: Attempt) -> Outcome:
    """Return how the attempt ended; never raises for what the node or its data did."""
    try:
        outcome = await _outcome(attempt)
    except Refused as refused:
        outcome = refused.failed
    return scrubbed(outcome, attempt.context.scrubber)


async def _carry_out(attempt: Attempt, config: dict[str, Any]) -> Outcome:
    if attempt.children.isolates(attempt.node):
        return await _in_child(attempt, config)
    if attempt.context.secrets is None:
        return await _in_worker(attempt, config)
    with guarded_by(attempt.context.secrets.guard):
        return await _in_worker(attempt, config)


def run_attempt_at_once(attempt: Attempt) -> Outcome | None:
    """Return how an attempt at a node that never awaits ended; None when it would have waited. Needs no event loop."""
    attempting = run_attempt(attempt)
    try:
        attempting.send(None)
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome
    attempting.close()
    return None


async def _outcome(attempt: Attempt) -> Outcome:
    step, context = attempt.step, attempt.context
    scope = attempt.scope if step.secrets is None else await unlock(step, context, attempt.scope)
    config = _render(attempt, scope)
    places = () if step.secrets is None else step.secrets.places
    context.input = kept_input(config, places, context.scrubber)
    if context.secrets is not None:
        _guard_hosts(context.secrets, config, {path[0] for path in places})
    if attempt.rules is None:
        return await _carry_out(attempt, config)
    asking = attempt.rules.before(config)
    if asking is not None:
        return asking
    with calling_by(rule_of(attempt.rules.host_limits)):
        return attempt.rules.after(await _carry_out(attempt, config))


def _guard_hosts(
    secrets: AttemptSecrets, config: Mapping[str, Any], made_of_secrets: Collection[str | int]
) -> None:
    """Hide hosts that secrets are part of, and refuse those that they may not go to before policies tell of them."""
    for field, host in hosts_in(config):
        if field in made_of_secrets:
            secrets.scrubber.add([host, plain_host(host)])
        try:
            secrets.guard(plain_host(host))
        except HostNotAllowed as error:
            raise Refused(Failed("invalid_request", str(error), again=False)) from None


def _render(attempt: Attempt, scope: Mapping[str, Any]) -> dict[str, Any]:
    try:
        config: dict[str, Any] = attempt.step.config.render(scope)
    except AutomateError as error:
        raise Refused(Failed(error.code, error.detail, again=False)) from None
    for name in attempt.step.late_schemas:
        _require_schema(name, config[name])
    return config


def _require_schema(name: str, value: Any) -> None:
    problems = list(schema_problems(value, name)) if isinstance(value, Mapping) else ()
    if problems:
        faults = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
        message = cut(f"The config does not fit once its expressions are evaluated: {faults}")
        raise Refused(Failed("invalid_config", message, again=False))


async def _in_worker(attempt: Attempt, config: dict[str, Any]) -> Outcome:
    step, node = attempt.step, attempt.node
    model = complete(node.config, config, step.expressions, attempt.scope)
    doing = _start(attempt, model)
    answer = _at_once(attempt, doing) if node.awaits_nothing else await _call(attempt, doing)
    return normalise(answer, step.ports, node.output, attempt.max_output_bytes)


async def _in_child(attempt: Attempt, config: dict[str, Any]) -> Outcome:
    """Have a child process do it; waiting for one is not the step's time, though it is the run's."""
    step, context = attempt.step, attempt.context
    try:
        secrets = None if context.secrets is None else await context.secrets.for_a_child()
    except (Fail, Retry) as error:
        raise Refused(failure(error, context)) from None
    request = Request(
        run_id=context.run_id,
        step_path=context.step_path,
        attempt=context.attempt,
        now=context.now().isoformat(),
        config=config,
        expressions=[(path, expression.source) for path, expression in step.expressions.items()],
        scope=attempt.scope if step.expressions else {},
        upstream=context.upstream,
        ports=step.ports,
        timeout_seconds=context.timeout_seconds,
        ports_in_use=sorted(context.ports_in_use),
        hosts=[] if attempt.rules is None else [asdict(it) for it in attempt.rules.host_limits],
        secrets=secrets,
        depth=current_depth(),
    )
    async with attempt.children.borrow(attempt.node, attempt.seconds_left()) as child:
        return await _call(attempt, child.attempt(request, context))


async def _call(attempt: Attempt, doing: Coroutine[Any, Any, T]) -> T:
    """Return what came of an attempt under its deadline, or refuse with how it failed."""
    left = attempt.seconds_left()
    timeout = (
        attempt.step.timeout_seconds if left is None else min(attempt.step.timeout_seconds, left)
    )
    work = asyncio.create_task(doing)
    try:
        await asyncio.wait({work}, timeout=timeout)
    finally:
        slow = not work.done()
        if slow:
            await _abandon(work, attempt)
    if slow:
        message = f"The step took longer than {timeout:g} s and was interrupted."
        raise Refused(Failed("step_timed_out", message, timed_out=True))
    error = asyncio.CancelledError() if work.cancelled() else work.exception()
    if error is not None:
        raise Refused(_failed(error, attempt)) from None
    return work.result()


def _at_once(attempt: Attempt, doing: Coroutine[Any, Any, T]) -> T:
    """Run what cannot be interrupted in any case to its end: a task and a time-out would cost more than most such nodes."""
    try:
        contextvars.copy_context().run(doing.send, None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    except BaseException as error:  # noqa: BLE001 - what asyncio would have kept in the task
        raise Refused(_failed(error, attempt)) from None
    doing.close()
    raise RuntimeError("a coroutine without `await` has waited for something")


def _failed(error: BaseException, attempt: Attempt) -> Failed:
    if isinstance(error, asyncio.CancelledError):
        return Failed("node_error", "The node cancelled itself.")
    if isinstance(error, NodeBlockedLoop):
        message = "The node blocked the event loop: write `def run` (it gets a thread) or await what it waits for."
        return Failed("node_blocked_loop", message)
    return failure(error, attempt.context)


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
