"""The gate in memory: open, closed, and what an attempt in flight may still do."""

import asyncio

import pytest

from app.core.clock import SystemClock
from app.core.statuses import SwitchMode, SwitchScope
from app.engine.checkpoint import RunFacts
from app.engine.guards.attempt import (
    asks_before_calls,
    current_guard,
    guarding,
    require_credential,
)
from app.engine.guards.gate import Gate
from app.engine.guards.held import Held
from app.engine.guards.switches import KillSwitch, Switches
from app.engine.sdk import Fail

FACTS = RunFacts("owner", "workflow")


class Known:
    """Switches that a test sets."""

    def __init__(self, *switches: KillSwitch) -> None:
        self.switches: Switches = switches

    def fresh(self) -> bool:
        return True


def halt(scope: SwitchScope, target: str | None = None) -> KillSwitch:
    return KillSwitch("1", scope, target, SwitchMode.HALT, "why")


def gate(*switches: KillSwitch) -> Gate:
    return Gate(Known(*switches), SystemClock())


def test_a_credential_is_known_by_its_name_or_its_id() -> None:
    closed = gate(halt(SwitchScope.CREDENTIAL, "stripe"))

    with guarding(closed, FACTS, "log") as guard, pytest.raises(Fail, match="kill switch"):
        require_credential("an id", "stripe")

    assert guard.held is not None
    with guarding(closed, FACTS, "log") as other:
        require_credential("an id", "another")
    assert other.held is None


def test_outside_of_attempts_no_credential_is_asked_for() -> None:
    require_credential("stripe")

    assert current_guard() is None


@pytest.mark.parametrize(
    ("switch", "stopped"),
    [
        (halt(SwitchScope.ALL), (True, True)),
        (halt(SwitchScope.USER, "owner"), (True, False)),
        (halt(SwitchScope.WORKFLOW, "workflow"), (True, False)),
        (halt(SwitchScope.NODE_TYPE, "log"), (True, False)),
        (halt(SwitchScope.NODE_TYPE, "delay"), (False, False)),
    ],
)
def test_calls_of_an_attempt_and_of_the_platform_itself(
    switch: KillSwitch, stopped: tuple[bool, bool]
) -> None:
    closed = gate(switch)
    ask = asks_before_calls(closed)

    with guarding(closed, FACTS, "log") as guard:
        of_attempt = ask()
    of_platform = ask()

    assert (of_attempt is not None, of_platform is not None) == stopped
    assert guard.calls == int(of_attempt is None)


async def test_what_an_attempt_begins_is_guarded_with_it() -> None:
    ask = asks_before_calls(gate(halt(SwitchScope.USER, "owner")))
    asked: list[Held | None] = []

    async def call() -> None:
        asked.append(ask())
        asked.append(await asyncio.to_thread(ask))

    with guarding(gate(halt(SwitchScope.USER, "owner")), FACTS, "log"):
        task = asyncio.create_task(call())
    await task

    assert all(asked)
