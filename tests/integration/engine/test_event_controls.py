"""Waits for events under controls: a run that is retried or resumed takes the events that came meanwhile."""

from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.controls.control import Action, Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.resuming import resume_runs
from app.engine.controls.retrying import retry_runs
from app.engine.plans import PlanCache
from app.engine.registry import load_catalogue
from app.models import Event, Wait
from tests.integration.engine.publisher import PAYMENT, Publisher
from tests.integration.engine.world import World

pytestmark = pytest.mark.usefixtures("worker")


def _wait(name: str, **config: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "wait_for_event",
        "depends_on": [],
        "config": {"event_type": PAYMENT, **config},
    }


def _control(action: Action) -> Control:
    return Control(action, "owner@example.com", SystemClock().now())


def _retry(world: World, run_id: str) -> None:
    plans = PlanCache(load_catalogue(world.settings.plugins_dir))
    with world.engine.begin() as connection:
        retried = retry_runs(connection, {run_id: None}, plans, _control("retry"))
    assert retried.due == (run_id,)
    world.desk._dispatch.put(run_id)


def _waits(world: World) -> list[tuple[str, int]]:
    with Session(world.engine) as session:
        return [(wait.path, wait.attempt) for wait in session.exec(select(Wait))]


def _looked_at(world: World) -> bool:
    """Tell whether every event has been held against the waits, and every wait against the kept events."""
    with Session(world.engine) as session:
        fresh = [wait for wait in session.exec(select(Wait)) if wait.fresh]
        return not fresh and all(event.expires_at for event in session.exec(select(Event)))


async def test_a_step_whose_time_was_up_takes_the_event_that_came_too_late_when_it_is_retried(
    world: World, publish: Publisher
) -> None:
    workflow = world.workflow(_wait("wait", timeout_seconds=0))
    failed = await world.start(workflow)
    left = _waits(world)
    late = await publish(payload={"n": 1})

    _retry(world, failed.id)
    run = await world.ended(failed.id)

    assert (failed.status, failed.error["code"], left) == (RunStatus.FAILED, "event_timed_out", [])
    assert late.woken == 0
    assert (run.status, run.output["payload"]) == (RunStatus.SUCCEEDED, {"n": 1})
    assert [(a.attempt, a.status, a.superseded) for a in world.attempts(run.id)] == [
        (1, AttemptStatus.FAILED, True),
        (2, AttemptStatus.SUCCEEDED, False),
    ]
    assert _waits(world) == []


async def test_a_wait_that_ended_with_its_run_is_opened_anew_by_a_retry(
    world: World, publish: Publisher
) -> None:
    workflow = world.workflow(
        _wait("wait", correlation_id="A-1"), _wait("late", correlation_id="A-2", timeout_seconds=0)
    )
    failed = await world.start(workflow)
    left = _waits(world)
    early = await publish("A-1")
    other = await publish("A-2")

    _retry(world, failed.id)
    run = await world.ended(failed.id)

    assert (failed.status, left) == (RunStatus.FAILED, [])
    assert (early.woken, other.woken) == (0, 0)
    outputs = {a.path: a.output["correlation_id"] for a in world.attempts(run.id) if a.output}
    assert run.status is RunStatus.SUCCEEDED
    assert outputs == {"wait": "A-1", "late": "A-2"}


async def test_an_event_that_comes_while_a_run_is_paused_counts_when_it_is_resumed(
    world: World, publish: Publisher
) -> None:
    run_id = (await world.trigger(world.workflow(_wait("wait")))).run_id
    await world.until_status(run_id, RunStatus.WAITING)
    await world.until(lambda: _looked_at(world))
    with world.engine.begin() as connection:
        assert pause_runs(connection, [run_id], _control("pause"))

    answer = await publish(payload=7)
    paused = world.run(run_id).status
    with world.engine.begin() as connection:
        assert resume_runs(connection, [run_id], _control("resume")).due == (run_id,)
    world.desk._dispatch.put(run_id)
    run = await world.ended(run_id)

    assert (answer.woken, paused) == (1, RunStatus.PAUSED)
    assert run.output["payload"] == 7
