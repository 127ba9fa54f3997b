"""Who is called when: each kind of work calls its duty at its time, not before, and nobody else's."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Session, SQLModel

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import (
    ApprovalStatus,
    Misfire,
    RunStatus,
    SwitchMode,
    SwitchScope,
    TriggerKind,
    WaitKind,
)
from app.engine.duties.events import GRACE
from app.engine.duties.held_runs import GRACE as LIFTED_GRACE
from app.engine.duties.lookout import MIN_ROUND_SECONDS, ROUND_SECONDS, SELDOM, WATCHES, Lookout
from app.models import Approval, Event, HookCall, KillSwitch, Run, Schedule, Wait
from tests.integration.engine.world import World

NOW = SystemClock().now()
AT = NOW + timedelta(seconds=30)
LONG_AGO = NOW - timedelta(hours=1)


class SetClock(SystemClock):
    """A clock that stands where the test sets it."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> Any:
        return self.time


class Loop:
    """Stands for a duty's loop; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1


def run(**fields: Any) -> Run:
    status = RunStatus.SUCCEEDED if "finished_at" in fields else RunStatus.QUEUED
    given = {"id": new_id(), "status": status, **fields}
    return Run(
        owner_id=new_id(),
        workflow_id=new_id(),
        version_id=new_id(),
        version=1,
        trigger_kind=TriggerKind.RUN,
        created_at=LONG_AGO,
        **given,
    )


def wait(kind: WaitKind, **fields: Any) -> Wait:
    return Wait(
        run_id=new_id(),
        path="a",
        attempt=1,
        owner_id=new_id(),
        kind=kind,
        **{"created_at": LONG_AGO, **fields},
    )


def event(**fields: Any) -> Event:
    return Event(id=new_id(), owner_id=new_id(), type="paid", **{"received_at": LONG_AGO, **fields})


def approval(due_at: Any) -> Approval:
    return Approval(
        id=new_id(),
        owner_id=new_id(),
        workflow_id=new_id(),
        run_id=new_id(),
        path="a",
        attempt=1,
        status=ApprovalStatus.PENDING,
        prompt="?",
        approvers=[],
        shown_hash="",
        on_reject="fail",
        due_at=due_at,
        created_at=LONG_AGO,
    )


def schedule(world: World, next_fire_at: Any) -> Schedule:
    return Schedule(
        id=new_id(),
        owner_id=world.owner_id,
        workflow_id=world.workflow({"id": "a", "type": "log", "config": {"message": "x"}}),
        cron="* * * * *",
        timezone="UTC",
        misfire=Misfire.SKIP,
        next_fire_at=next_fire_at,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )


def ended_child(_: World) -> list[SQLModel]:
    child = run(finished_at=AT)
    parent = wait(WaitKind.RUN, child_run_id=child.id, on_due={})
    return [child, parent]


def kill_switch(**fields: Any) -> KillSwitch:
    return KillSwitch(
        id=new_id(),
        scope=SwitchScope.ALL,
        mode=SwitchMode.HALT,
        reason="why",
        created_by="op@example.com",
        created_at=LONG_AGO,
        **fields,
    )


def held_by_a_lifted_switch(_: World) -> list[SQLModel]:
    switch = kill_switch(lifted_at=AT - LIFTED_GRACE)
    return [switch, run(held_by=switch.id), run(held_by=new_id())]


WORK: dict[str, tuple[str, Callable[[World], list[SQLModel]]]] = {
    "a timer": ("timers", lambda _: [wait(WaitKind.TIMER, due_at=AT)]),
    "an approval's time": ("approval_timeouts", lambda _: [approval(AT)]),
    "a fire time": ("schedules", lambda world: [schedule(world, AT)]),
    "an event nobody matched": ("events", lambda _: [event(received_at=AT - GRACE)]),
    "a wait nobody matched": (
        "events",
        lambda _: [wait(WaitKind.EVENT, created_at=AT - GRACE, fresh=True)],
    ),
    "an event that is over": ("events", lambda _: [event(expires_at=AT)]),
    "a run without a hint": ("sweep", lambda _: [run(wake_at=AT)]),
    "a child that is over": ("children", ended_child),
    "a child that was left": (
        "children",
        lambda _: [wait(WaitKind.RUN, child_run_id=new_id(), created_at=AT)],
    ),
    "a run with hooks": ("hooks", lambda _: [run(finished_at=AT, hooks=[{"url": "x"}])]),
    "a call to be made": (
        "hook_calls",
        lambda _: [HookCall(run_id=new_id(), url="x", next_try_at=AT)],
    ),
    "a switch that expires": ("held_runs", lambda _: [kill_switch(expires_at=AT)]),
    "a run whose switch is lifted": ("held_runs", held_by_a_lifted_switch),
}


def test_every_watch_has_its_case() -> None:
    assert sorted(duty for duty, _ in WORK.values()) == sorted(watch.duty for watch in WATCHES)


@pytest.mark.parametrize("work", WORK)
def test_work_calls_its_duty_when_it_is_due(world: World, work: str) -> None:
    duty, rows = WORK[work]
    with Session(world.engine) as session:
        session.add_all(rows(world))
        session.commit()
    clock, loops = SetClock(), {watch.duty: Loop() for watch in WATCHES}
    lookout = Lookout(world.engine, clock, loops)

    clock.time = AT - timedelta(seconds=0.3)
    lookout.run_once()  # the first round asks everything
    assert not any(loop.calls for loop in loops.values())
    assert lookout.interval_seconds == pytest.approx(0.3)

    clock.time = AT
    for _ in range(SELDOM):
        lookout.run_once()
    assert [name for name, loop in loops.items() if loop.calls] == [duty]
    if not next(watch for watch in WATCHES if watch.duty == duty).seldom:
        assert lookout.interval_seconds == MIN_ROUND_SECONDS


def test_where_nothing_waits_nobody_is_called(world: World) -> None:
    loops = {watch.duty: Loop() for watch in WATCHES}
    lookout = Lookout(world.engine, SetClock(), loops)

    lookout.run_once()

    assert not any(loop.calls for loop in loops.values())
    assert lookout.interval_seconds == ROUND_SECONDS
