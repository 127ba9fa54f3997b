"""What kill switches stop. Pure: switches, a subject and the time in, the switch that stops it out."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from app.core.logging import get_logger
from app.core.statuses import SwitchMode, SwitchScope
from app.engine.guards.held import Held

CODE: Final = "kill_switch"
OF_OWNERS: Final = frozenset({SwitchScope.TEAM, SwitchScope.USER})
OF_RUNS: Final = frozenset({SwitchScope.ALL, SwitchScope.WORKFLOW}) | OF_OWNERS
log = get_logger(__name__)
Value = TypeVar("Value", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """A switch that is set."""

    id: str
    scope: SwitchScope
    target: str | None
    mode: SwitchMode
    reason: str
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Tell whether its time is not up."""
        return self.expires_at is None or now < self.expires_at

    def covers(self, owner_id: str, workflow_id: str) -> bool:
        """Tell whether it concerns all runs of this workflow, or of this owner."""
        if self.scope in OF_OWNERS:
            return self.target == owner_id
        if self.scope is SwitchScope.WORKFLOW:
            return self.target == workflow_id
        return self.scope is SwitchScope.ALL

    @property
    def held(self) -> Held:
        """Return what is said of what it stops."""
        until = "" if self.expires_at is None else f" until {self.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        what = "" if self.scope is SwitchScope.ALL else f" of this {self.scope.value}"
        reason = f"Stopped by a kill switch{what}{until}: {self.reason}"
        return Held("kill_switch", self.id, CODE, reason)


Switches = Sequence[KillSwitch]


def stopping_new(
    switches: Switches, owner_id: str, workflow_id: str, now: datetime
) -> KillSwitch | None:
    """Return a switch, of either mode, that lets no run of this workflow begin."""
    return _first(it for it in switches if it.covers(owner_id, workflow_id) and it.holds(now))


def stopping_begun(
    switches: Switches, owner_id: str, workflow_id: str, now: datetime
) -> KillSwitch | None:
    """Return a switch that lets no step start in runs of this workflow, however far they have come."""
    return stopping_new([*_halts(switches)], owner_id, workflow_id, now)


def stopping_steps(
    switches: Switches, node_type: str, credentials: Collection[str], now: datetime
) -> KillSwitch | None:
    """Return a switch, of either mode, that lets no step start of this type, or with one of these credentials."""
    return _first(
        it for it in switches if _concerns_step(it, node_type, credentials) and it.holds(now)
    )


def stopping_calls(switches: Switches, node_type: str, now: datetime) -> KillSwitch | None:
    """Return a switch that lets attempts at steps of this type make no further call."""
    return stopping_steps([*_halts(switches)], node_type, (), now)


class SwitchRow(Protocol):
    """A row of `kill_switches`, as it was read."""

    id: Any
    scope: Any
    target: Any
    mode: Any
    reason: Any
    expires_at: Any


def read_switch(row: SwitchRow) -> KillSwitch:
    """Return the switch of a row. What cannot be understood in it is taken for the most that it may concern."""
    scope, mode = _read(SwitchScope, row.scope), _read(SwitchMode, row.mode)
    target = row.target or None
    unclear = scope is None or mode is None or (target is None and scope is not SwitchScope.ALL)
    if unclear:
        log.error("kill_switch_unreadable", id=row.id, scope=row.scope, mode=row.mode)
        if scope is None or target is None:
            scope, target = SwitchScope.ALL, None
        mode = SwitchMode.HALT
    assert scope is not None  # noqa: S101 - for the type checker
    assert mode is not None  # noqa: S101 - for the type checker
    return KillSwitch(str(row.id), scope, target, mode, str(row.reason), row.expires_at)


def _concerns_step(switch: KillSwitch, node_type: str, credentials: Collection[str]) -> bool:
    if switch.scope is SwitchScope.NODE_TYPE:
        return switch.target == node_type
    return switch.scope is SwitchScope.CREDENTIAL and switch.target in credentials


def _halts(switches: Switches) -> Iterator[KillSwitch]:
    return (it for it in switches if it.mode is SwitchMode.HALT)


def _first(found: Iterable[KillSwitch]) -> KillSwitch | None:
    return next(iter(found), None)


def _read(enum: type[Value], text: Any) -> Value | None:
    try:
        return enum(text)
    except ValueError:
        return None
