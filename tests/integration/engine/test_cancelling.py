"""Cancelling: at once for the database, within a second for the worker that holds the run."""

from datetime import timedelta

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Control
from app.models import Wait
from tests.integration.engine.world import World

pytestmark = pytest.mark.usefixtures("worker")
A_DAY = {"id": "nap", "type": "delay", "config": {"seconds": 86_400}}


def _cancel(world: World, run_id: str, ago: timedelta = timedelta()) -> frozenset[str]:
    control = Control("cancel", "owner@example.com", SystemClock().now() - ago, "enough")
    with world.engine.begin() as connection:
        return cancel_runs(connection, [run_id], control)


async def test_a_waiting_run_is_cancelled_with_its_steps_and_waits(world: World) -> None:
    run_id = (await world.trigger(world.workflow(A_DAY))).run_id
    await world.until_status(run_id, RunStatus.WAITING)

    first, second = _cancel(world, run_id), _cancel(world, run_id)

    run = world.run(run_id)
    assert (first, second) == (frozenset({run_id}), frozenset())
    assert run.status is RunStatus.CANCELLED
    assert run.control["reason"] == "enough"
    assert [row.status for row in world.attempts(run_id)] == [AttemptStatus.CANCELLED]
    with Session(world.engine) as session:
        assert session.exec(select(Wait)).all() == []


async def test_nothing_ends_before_it_started_when_the_cancelling_clock_is_behind(
    world: World,
) -> None:
    run_id = (await world.trigger(world.workflow(A_DAY))).run_id
    await world.until_status(run_id, RunStatus.WAITING)

    _cancel(world, run_id, ago=timedelta(minutes=1))

    run, (attempt,) = world.run(run_id), world.attempts(run_id)
    assert (run.status, attempt.status) == (RunStatus.CANCELLED, AttemptStatus.CANCELLED)
    assert run.finished_at == run.started_at
    assert attempt.finished_at == attempt.started_at
