"""What a kill switch stops, and what it leaves alone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.statuses import SwitchMode, SwitchScope
from app.engine.guards.switches import (
    KillSwitch,
    read_switch,
    stopping_begun,
    stopping_calls,
    stopping_new,
    stopping_steps,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TARGETS = {
    SwitchScope.ALL: None,
    SwitchScope.TEAM: "team",
    SwitchScope.USER: "user",
    SwitchScope.WORKFLOW: "workflow",
    SwitchScope.NODE_TYPE: "log",
    SwitchScope.CREDENTIAL: "stripe",
}
OF_RUNS = [SwitchScope.ALL, SwitchScope.TEAM, SwitchScope.USER, SwitchScope.WORKFLOW]


@dataclass
class Row:
    """A row of the table, as it might stand there."""

    scope: Any = "all"
    target: Any = None
    mode: Any = "drain"
    reason: Any = "why"
    expires_at: Any = None
    id: Any = "1"


def switch(scope: SwitchScope, mode: SwitchMode = SwitchMode.HALT, **fields: Any) -> KillSwitch:
    return KillSwitch("1", scope, TARGETS[scope], mode, "why", **fields)


def owner_of(scope: SwitchScope) -> str:
    return "team" if scope is SwitchScope.TEAM else "user"


@pytest.mark.parametrize("scope", OF_RUNS)
@pytest.mark.parametrize("mode", SwitchMode)
def test_no_run_begins_that_a_switch_covers(scope: SwitchScope, mode: SwitchMode) -> None:
    found = switch(scope, mode)

    assert stopping_new([found], owner_of(scope), "workflow", NOW) is found


@pytest.mark.parametrize("scope", OF_RUNS)
def test_only_a_halt_stops_what_has_begun(scope: SwitchScope) -> None:
    drain, halt = switch(scope, SwitchMode.DRAIN), switch(scope, SwitchMode.HALT)

    found = stopping_begun([drain, halt], owner_of(scope), "workflow", NOW)

    assert found is halt
    assert stopping_begun([drain], owner_of(scope), "workflow", NOW) is None


@pytest.mark.parametrize("scope", OF_RUNS[1:])
def test_what_others_own_goes_on(scope: SwitchScope) -> None:
    assert stopping_new([switch(scope)], "somebody", "something", NOW) is None


@pytest.mark.parametrize("mode", SwitchMode)
def test_steps_of_a_type_or_with_a_credential_do_not_start(mode: SwitchMode) -> None:
    of_type, of_credential = (
        switch(SwitchScope.NODE_TYPE, mode),
        switch(SwitchScope.CREDENTIAL, mode),
    )

    assert stopping_steps([of_type], "log", (), NOW) is of_type
    assert stopping_steps([of_credential], "log", ("stripe", "an id"), NOW) is of_credential
    assert stopping_steps([of_type, of_credential], "delay", ("other",), NOW) is None


def test_calls_in_flight_are_stopped_by_a_halt_alone() -> None:
    halt = switch(SwitchScope.NODE_TYPE)
    drain = switch(SwitchScope.NODE_TYPE, SwitchMode.DRAIN)

    assert stopping_calls([drain], "log", NOW) is None
    assert stopping_calls([drain, halt], "log", NOW) is halt
    assert stopping_calls([halt], "delay", NOW) is None


def test_a_switch_ends_with_its_time() -> None:
    found = switch(SwitchScope.ALL, expires_at=NOW)

    assert stopping_new([found], "user", "workflow", NOW - timedelta(microseconds=1)) is found
    assert stopping_new([found], "user", "workflow", NOW) is None


@pytest.mark.parametrize(
    ("row", "scope", "target"),
    [
        (Row(scope="galaxy", target="milky way"), SwitchScope.ALL, None),
        (Row(scope="user"), SwitchScope.ALL, None),
        (Row(scope=None, mode=None), SwitchScope.ALL, None),
        (Row(mode="dream"), SwitchScope.ALL, None),
        (Row(scope="user", target="user", mode="dream"), SwitchScope.USER, "user"),
    ],
)
def test_what_cannot_be_understood_halts_all_that_it_may_concern(
    row: Row, scope: SwitchScope, target: str | None
) -> None:
    found = read_switch(row)

    assert (found.scope, found.target, found.mode) == (scope, target, SwitchMode.HALT)
    assert stopping_begun([found], "user", "workflow", NOW) is found


def test_a_row_is_read_as_it_stands() -> None:
    found = read_switch(Row("user", "u", "drain", "because", NOW))

    assert found == KillSwitch("1", SwitchScope.USER, "u", SwitchMode.DRAIN, "because", NOW)
    assert found.held.reason == (
        "Stopped by a kill switch of this user until 2026-11-21 00:00:00 UTC: because"
    )
