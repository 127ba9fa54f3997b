"""How an attempt ended, read from what the node answered or raised."""

import errno
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import TypeAdapter

from app.core.errors import AutomateError
from app.core.logging import get_logger
from app.core.statuses import WaitKind
from app.engine.attempt.context import AttemptContext, cut, encode, storable
from app.engine.attempt.scrubbing import Scrubber
from app.engine.planning.record import Waiting
from app.engine.planning.transitions import Failed, Outcome, Succeeded, Suspended, resolution_of
from app.engine.sdk import Done, Fail, Retry, Suspend

OUT_OF_MEMORY = "out_of_memory"
log = get_logger(__name__)


class Refused(Exception):
    """The attempt goes no further; carries its outcome from a stage to the end."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


def failure(error: BaseException, context: AttemptContext) -> Failed:
    """Return how an attempt failed whose node raised."""
    match error:
        case Refused():
            return error.failed
        case Retry():
            message, data = cut(context.hide(error.message)), storable(error.data)
            return Failed(cut(error.code), message, after_seconds=error.after_seconds, data=data)
        case Fail():
            message, data = cut(context.hide(error.message)), storable(error.data)
            return Failed(cut(error.code), message, again=False, data=data)
        case AutomateError():
            return Failed(error.code, cut(error.detail), again=False)
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return Failed(OUT_OF_MEMORY, "The node ran out of memory.")
        case _:
            trace = context.hide("".join(traceback.format_exception(error)))
            log.info("node_raised", step=context.step_path, run_id=context.run_id, exception=trace)
            return Failed("node_error", cut(context.hide(f"{type(error).__name__}: {error}")))


def scrubbed(outcome: Outcome, scrubber: Scrubber) -> Outcome:
    """Return how an attempt ended without the secrets that its run has used."""
    if not scrubber:
        return outcome
    match outcome:
        case Succeeded():
            output = scrubber.json(outcome.output)
            if output is outcome.output:
                return outcome
            return replace(outcome, output=output, output_bytes=len(orjson.dumps(output)))
        case Failed():
            code, message = scrubber.text(outcome.code), scrubber.text(outcome.message)
            return replace(outcome, code=code, message=message, data=scrubber.json(outcome.data))
        case Suspended():
            wait = replace(outcome.wait, shown=scrubber.json(dict(outcome.wait.shown)))
            on_due, data = scrubber.json(dict(outcome.on_due)), scrubber.json(dict(outcome.data))
            return Suspended(wait, on_due, data)


def normalise(
    answer: Any, ports: Sequence[str], adapter: TypeAdapter[Any], max_output_bytes: int
) -> Succeeded | Suspended:
    """Return a node's answer as it is stored.

    Raises:
        Refused: the port is none of the step's, or the output is no JSON or too large.
    """
    if isinstance(answer, Suspend):
        return _suspended(answer, ports, adapter, max_output_bytes)
    return _succeeded(
        answer if isinstance(answer, Done) else Done(answer), ports, adapter, max_output_bytes
    )


def _suspended(
    answer: Suspend, ports: Sequence[str], adapter: TypeAdapter[Any], max_output_bytes: int
) -> Suspended:
    match answer.on_due:
        case Fail() as fail:
            due: Succeeded | Failed = Failed(cut(fail.code), cut(fail.message), data=fail.data)
        case done:
            due = _succeeded(done, ports, adapter, max_output_bytes)
    wait = Waiting(WaitKind(answer.kind), answer.until, _plain(answer.shown))
    return Suspended(wait, resolution_of(due), _plain(answer.data))


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node says of its wait as plain JSON."""
    try:
        plain: dict[str, Any] = orjson.loads(encode(dict(data)))
    except (ValueError, TypeError, RecursionError) as error:
        message = cut(f"What the node waits for cannot be stored as JSON: {error}")
        raise Refused(Failed("invalid_output", message, again=False)) from None
    return plain


def _succeeded(
    done: Done, ports: Sequence[str], adapter: TypeAdapter[Any], max_output_bytes: int
) -> Succeeded:
    if done.port is not None and done.port not in ports:
        names = ", ".join(ports)
        raise Refused(
            Failed("unknown_port", f"The node answered with port {done.port!r}; it has: {names}.")
        )
    try:
        encoded = encode(adapter.dump_python(done.output, warnings=False))
    except (ValueError, TypeError, RecursionError) as error:
        message = cut(f"The node's output cannot be stored as JSON: {error}")
        raise Refused(Failed("invalid_output", message, again=False)) from None
    if len(encoded) > max_output_bytes:
        message = (
            f"The output is {len(encoded):,} bytes of JSON; at most {max_output_bytes:,} are kept: "
            "return less, or a reference to where the data is."
        )
        raise Refused(Failed("output_too_large", message, again=False))
    return Succeeded(orjson.loads(encoded), done.port, len(encoded))
