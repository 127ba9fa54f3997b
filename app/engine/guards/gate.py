"""The gate that every run and every step passes: asked in memory, before anything starts."""

from collections.abc import Collection
from typing import Protocol

from app.core.clock import Clock
from app.engine.checkpoint import RunFacts
from app.engine.guards.held import Held
from app.engine.guards.switches import (
    KillSwitch,
    Switches,
    stopping_begun,
    stopping_calls,
    stopping_new,
    stopping_steps,
)
from app.engine.language.plan import Step


class Known(Protocol):
    """What a process knows of the kill switches."""

    switches: Switches

    def fresh(self) -> bool:
        """Tell whether anything may start by it."""
        ...


class Gate:
    """Says what is held. Every answer is None for what may go on; ask `open` first, for what is known may be too old."""

    def __init__(self, known: Known, clock: Clock) -> None:
        self._known = known
        self._clock = clock

    def open(self) -> bool:
        """Tell whether anything at all may start: not by what was read too long ago."""
        return self._known.fresh()

    @property
    def watchful(self) -> bool:
        """Tell whether anything may be held, so that it pays to ask in detail."""
        return bool(self._known.switches)

    def of_run(self, owner_id: str, workflow_id: str, *, begun: bool) -> Held | None:
        """Return what keeps a run from being claimed, or (when it has not `begun`) from being made."""
        switches = self._known.switches
        if not switches:
            return None
        stopping = stopping_begun if begun else stopping_new
        return _held(stopping(switches, owner_id, workflow_id, self._clock.now()))

    def of_step(self, run: RunFacts, step: Step) -> Held | None:
        """Return what keeps a step of a run that has begun from starting."""
        if not self._known.switches:
            return None
        used = () if step.credential is None else (step.credential,)
        return self.of_run(run.owner_id, run.workflow_id, begun=True) or self.of_credential(
            used, step.type
        )

    def of_credential(self, names: Collection[str], node_type: str = "") -> Held | None:
        """Return what keeps a step from starting that uses a credential, told by its name, its id, or both."""
        switches = self._known.switches
        if not switches:
            return None
        return _held(stopping_steps(switches, node_type, names, self._clock.now()))

    def of_call(self, run: RunFacts | None, node_type: str) -> Held | None:
        """Return what keeps an attempt in flight from calling anybody; without a run, only the global switch does."""
        switches = self._known.switches
        if not switches:
            return None
        now = self._clock.now()
        owner_id, workflow_id = (run.owner_id, run.workflow_id) if run is not None else ("", "")
        return _held(
            stopping_begun(switches, owner_id, workflow_id, now)
            or stopping_calls(switches, node_type, now)
        )


def _held(switch: KillSwitch | None) -> Held | None:
    return None if switch is None else switch.held
