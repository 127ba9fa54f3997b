"""Steps that wait: for a time, beside others that run, and over the death of their run's worker."""

from datetime import timedelta

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.checkpoint import parked
from app.engine.planning.decision import Wait as Parked
from app.engine.store import LEAVE
from app.engine.waiting import store
from app.engine.waiting.ending import WaitEnd, end_waits, lock_runs
from app.models import Wait
from tests.integration.engine.world import World

DELAY = {"id": "nap", "type": "delay", "config": {"seconds": 0.4}}
A_DAY = {"id": "nap", "type": "delay", "config": {"seconds": 86_400}}
LOG = {
    "id": "after",
    "type": "log",
    "config": {"message": "${{ steps.nap.output.waited_seconds }}"},
}

pytestmark = pytest.mark.usefixtures("worker")


def _waits(world: World) -> list[Wait]:
    with Session(world.engine) as session:
        return list(session.exec(select(Wait)).all())


async def test_a_delay_holds_no_worker_and_ends_in_time(world: World) -> None:
    answer = await world.trigger(world.workflow(DELAY, LOG))
    await world.until_status(answer.run_id, RunStatus.WAITING)
    waiting = world.run(answer.run_id)

    run = await world.ended(answer.run_id)

    assert waiting.worker_id is None
    assert waiting.waiting_for[0]["kind"] == "timer"
    assert run.status is RunStatus.SUCCEEDED
    assert world.attempts(run.id)[0].output == {"waited_seconds": 0.4}
    assert _waits(world) == []


async def test_a_wait_that_ends_while_another_step_runs_is_noticed(world: World) -> None:
    nap = {**DELAY, "depends_on": []}
    bridge = {"id": "bridge", "type": "delay", "config": {"seconds": 30}, "depends_on": []}
    run_id = (
        await world.trigger(world.workflow(nap, bridge, {**LOG, "depends_on": ["nap"]}))
    ).run_id

    await world.until(lambda: any(row.path == "after" for row in world.attempts(run_id)))

    statuses = {row.path: row.status for row in world.attempts(run_id)}
    assert statuses["nap"] is AttemptStatus.SUCCEEDED
    assert statuses["bridge"] is AttemptStatus.WAITING


async def test_a_wait_ends_once_whoever_comes_first(world: World) -> None:
    run_id = (await world.trigger(world.workflow(A_DAY, LOG))).run_id
    await world.until_status(run_id, RunStatus.WAITING)
    now = SystemClock().now()
    first = WaitEnd(run_id, "nap", 1, {"output": {"waited_seconds": 7}, "port": "out"})
    second = WaitEnd(run_id, "nap", 1, {"error": {"code": "late", "message": "Too late."}})

    with world.engine.begin() as connection:
        won = end_waits(connection, [first], now)
        lost = end_waits(connection, [second], now)
    run = await world.ended(run_id)

    assert won.ended == {first.key}
    assert won.run_ids == (run_id,)
    assert lost.ended == frozenset()
    assert run.status is RunStatus.SUCCEEDED
    assert world.logs(run_id)[0].message == "7"


async def test_a_failure_elsewhere_ends_the_wait(world: World) -> None:
    nap = {**A_DAY, "depends_on": []}
    bad = {"id": "bad", "type": "fail", "config": {"message": "no"}, "depends_on": []}

    run = await world.start(world.workflow(nap, bad))

    statuses = {row.path: row.status for row in world.attempts(run.id)}
    assert run.status is RunStatus.FAILED
    assert statuses["nap"] is AttemptStatus.CANCELLED
    assert _waits(world) == []


async def test_the_run_itself_times_out_while_it_waits(world: World) -> None:
    run = await world.start(world.workflow(A_DAY, timeout_seconds=0.5))

    assert run.status is RunStatus.TIMED_OUT
    assert run.finished_at is not None
    assert run.started_at is not None
    assert run.finished_at - run.started_at >= timedelta(seconds=0.5)
    assert _waits(world) == []


async def test_a_run_does_not_come_to_wait_for_what_has_just_ended(world: World) -> None:
    run_id = (await world.trigger(world.workflow(A_DAY, LOG))).run_id
    await world.until_status(run_id, RunStatus.WAITING)
    resolution = {"output": {"waited_seconds": 1}, "port": "out"}

    with (
        world.engine.begin() as connection
    ):  # as if its worker had been told, and was about to let it go
        lock_runs(connection, [run_id])
        ended = [{"run_id": run_id, "path": "nap", "attempt": 1, "resolution": resolution}]
        store.RESOLVE.run(connection, ended)
        LEAVE.run(connection, [{"id": run_id, **parked([Parked("nap", "timer", None)], None)}])
    run = await world.ended(run_id)

    assert run.status is RunStatus.SUCCEEDED
