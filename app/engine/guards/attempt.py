"""What guards an attempt in flight: each call that it makes, each credential that it takes, each run that it starts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from app.engine.checkpoint import RunFacts
from app.engine.guards.gate import Gate
from app.engine.guards.held import Held
from app.engine.sdk import Fail


class AttemptGuard:
    """Remembers of one attempt what it was held for, and how many calls had gone out before."""

    def __init__(self, gate: Gate, run: RunFacts, node_type: str) -> None:
        self._gate, self._run, self._type = gate, run, node_type
        self.held: Held | None = None
        self.calls = 0

    def of_call(self) -> Held | None:
        """Return what keeps it from making one more call."""
        held = self._gate.of_call(self._run, self._type)
        if held is None:
            self.calls += 1
        else:
            self.held = held
        return held

    def require_credential(self, *names: str) -> None:
        """Do nothing when the attempt may use a credential, told by its name, its id, or both.

        Raises:
            Fail: it may not. The step is then held, and tried again when it may.
        """
        held = self._gate.of_credential(names, self._type)
        if held is not None:
            raise self.stop(held)

    def require_run(self, owner_id: str, workflow_id: str) -> None:
        """Do nothing when the attempt may start a run of a workflow.

        Raises:
            Fail: it may not. The step is then held, and tried again when it may.
        """
        held = self._gate.of_run(owner_id, workflow_id, begun=False)
        if held is not None:
            raise self.stop(held)

    def stop(self, held: Held) -> Fail:
        """Hold the attempt; returns what its node is told."""
        self.held = held
        return Fail(held.reason, code=held.code)


_CURRENT: ContextVar[AttemptGuard | None] = ContextVar("attempt_guard", default=None)


@contextmanager
def guarding(gate: Gate, run: RunFacts, node_type: str) -> Iterator[AttemptGuard]:
    """Guard the attempt that is carried out within, in whatever tasks and threads it begins."""
    guard = AttemptGuard(gate, run, node_type)
    token = _CURRENT.set(guard)
    try:
        yield guard
    finally:
        _CURRENT.reset(token)


def current_guard() -> AttemptGuard | None:
    """Return the guard of the attempt that is being carried out here; None outside of attempts."""
    return _CURRENT.get()


def asks_before_calls(gate: Gate) -> Callable[[], Held | None]:
    """Return what the outbound transport asks before each call; calls of no attempt are the platform's own."""

    def ask() -> Held | None:
        guard = _CURRENT.get()
        return gate.of_call(None, "") if guard is None else guard.of_call()

    return ask


def require_credential(*names: str) -> None:
    """Do nothing when the attempt in progress may use a credential, told by its name, its id, or both.

    To be called wherever a credential is about to be opened for a step.

    Raises:
        Fail: it may not. The step is then held, and tried again when it may.
    """
    guard = _CURRENT.get()
    if guard is not None:
        guard.require_credential(*names)
