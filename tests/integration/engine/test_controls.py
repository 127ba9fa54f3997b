"""Pause, resume and cancel: at once for the database, soon for the worker that holds the run, and one winner each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Action, Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.resuming import resume_runs
from app.engine.delivery.process import WorkerProcess
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import World

GATED_NODES = Path(__file__).parent / "gated_nodes"
LOG = {"id": "after", "type": "log", "config": {"message": "done"}}
RACES = 25
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""Of a resumption, so that the sweep takes the hint for lost."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": GATED_NODES, "shutdown_seconds": 0})


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    GATES.clear()
    yield
    GATES.clear()


def gated(name: str, node_type: str = "gated", **step: Any) -> dict[str, Any]:
    return {"id": name, "type": node_type, "config": {"gate": name}, **step}


def control(action: Action) -> Control:
    return Control(action, "owner@example.com", SystemClock().now(), "because")


def pause(world: World, run_id: str) -> bool:
    with world.engine.begin() as connection:
        return bool(pause_runs(connection, [run_id], control("pause")))


def resume(world: World, run_id: str) -> bool:
    with world.engine.begin() as connection:
        resumed = resume_runs(connection, [run_id], control("resume"))
    world.desk._dispatch.put(run_id) if resumed.due else None
    return bool(resumed.run_ids)


def cancel(world: World, run_id: str) -> bool:
    with world.engine.begin() as connection:
        return bool(cancel_runs(connection, [run_id], control("cancel")))


def statuses(world: World, run_id: str) -> dict[str, AttemptStatus]:
    return {row.path: row.status for row in world.attempts(run_id)}


async def test_a_queued_run_is_paused_until_it_is_resumed(world: World, begin: Any) -> None:
    run_id = (await world.trigger(world.workflow(LOG))).run_id

    assert pause(world, run_id)
    worker = begin()
    other = await world.start(world.workflow(LOG))
    paused = world.run(run_id)
    assert resume(world, run_id)
    run = await world.ended(run_id)

    assert worker._orchestrator.in_flight == 0
    assert other.status is RunStatus.SUCCEEDED
    assert (paused.status, paused.wake_at, paused.epoch) == (RunStatus.PAUSED, None, 0)
    assert paused.control["action"] == "pause"
    assert run.status is RunStatus.SUCCEEDED
    assert run.control["action"] == "resume"


@pytest.mark.usefixtures("worker")
async def test_an_attempt_in_flight_ends_and_nothing_new_starts_while_paused(world: World) -> None:
    run_id = (await world.trigger(world.workflow(gated("a"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    assert pause(world, run_id)
    held = world.run(run_id)
    GATES["a"].opened.set()
    await world.until(lambda: world.run(run_id).worker_id is None)
    released = world.run(run_id)

    assert (held.status, held.worker_id is None) == (RunStatus.PAUSED, False)
    assert released.status is RunStatus.PAUSED
    assert statuses(world, run_id) == {"a": AttemptStatus.SUCCEEDED}
    assert resume(world, run_id)
    assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED
    assert GATES["a"].entered == 1


@pytest.mark.usefixtures("worker")
async def test_a_run_that_is_resumed_before_its_worker_lets_go_goes_on(world: World) -> None:
    run_id = (await world.trigger(world.workflow(gated("a"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    assert pause(world, run_id)
    assert resume(world, run_id)
    again = world.run(run_id).status
    GATES["a"].opened.set()
    run = await world.ended(run_id)

    assert again is RunStatus.RUNNING
    assert run.status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
async def test_a_worker_that_waits_for_an_attempt_while_paused_does_not_spin(world: World) -> None:
    shaky = {"max_attempts": 2, "initial_delay_seconds": 0.2}
    definition = world.workflow(
        gated("a", depends_on=[]), gated("b", depends_on=[]), gated("c", depends_on=[], retry=shaky)
    )
    run_id = (await world.trigger(definition)).run_id
    await world.until(lambda: GATES["a"].entered + GATES["b"].entered + GATES["c"].entered == 3)

    assert pause(world, run_id)
    GATES["b"].opened.set()
    await world.until(lambda: statuses(world, run_id)["b"] is AttemptStatus.SUCCEEDED)
    GATES["a"].opened.set()
    GATES["c"].opened.set()
    await world.until(lambda: world.run(run_id).worker_id is None)

    changes = max(row.changed for row in world.attempts(run_id)) % 1_000_000
    assert changes < 6
    assert resume(world, run_id)
    assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
async def test_a_wait_that_ends_while_paused_is_taken_over_when_resumed(world: World) -> None:
    nap = {"id": "nap", "type": "delay", "config": {"seconds": 0.6}}
    run_id = (await world.trigger(world.workflow(nap, LOG))).run_id
    await world.until_status(run_id, RunStatus.WAITING)

    assert pause(world, run_id)
    await world.until(lambda: _resolved(world) == 1)
    paused = world.run(run_id)
    assert resume(world, run_id)
    run = await world.ended(run_id)

    assert paused.status is RunStatus.PAUSED
    assert run.status is RunStatus.SUCCEEDED
    assert statuses(world, run_id)["nap"] is AttemptStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
async def test_a_wait_that_ends_while_a_held_run_is_paused_is_not_missed(world: World) -> None:
    nap = {"id": "nap", "type": "delay", "config": {"seconds": 0.6}, "depends_on": []}
    after = {**LOG, "depends_on": ["nap"]}
    definition = world.workflow(nap, gated("a", depends_on=[]), after)
    run_id = (await world.trigger(definition)).run_id
    await world.until(lambda: statuses(world, run_id).get("nap") is AttemptStatus.WAITING)

    assert pause(world, run_id)
    await world.until(lambda: _resolved(world) == 1)
    assert resume(world, run_id)
    await world.until(lambda: "after" in statuses(world, run_id))
    GATES["a"].opened.set()

    assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED


def _resolved(world: World) -> int:
    sql = "SELECT count(*) FROM waits WHERE resolution IS NOT NULL"
    with world.engine.connect() as connection:
        return int(connection.execute(text(sql)).scalar_one())


@pytest.mark.parametrize("answer", ["resume", "cancel"])
async def test_a_lost_attempt_of_a_step_that_asks_pauses_the_run_until_a_person_answers(
    world: World, begin: Any, answer: str
) -> None:
    worker = begin()
    run_id = (await world.trigger(world.workflow(gated("a", "gated_asking"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    await worker.end()
    asking = world.run(run_id)
    begin()
    GATES["a"].opened.set()
    answered = resume(world, run_id) if answer == "resume" else cancel(world, run_id)
    run = await world.ended(run_id)

    assert asking.status is RunStatus.PAUSED
    assert [(asked["step"], asked["kind"]) for asked in asking.waiting_for] == [("a", "lost")]
    assert "resume the run" in asking.waiting_for[0]["reason"]
    assert answered
    if answer == "resume":
        assert (run.status, GATES["a"].entered) == (RunStatus.SUCCEEDED, 2)
    else:
        assert (run.status, GATES["a"].entered) == (RunStatus.CANCELLED, 1)


async def test_a_run_that_is_paused_when_its_worker_dies_asks_before_it_repeats_a_step(
    world: World, begin: Any
) -> None:
    worker = begin()
    run_id = (await world.trigger(world.workflow(gated("a", "gated_asking"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)
    assert pause(world, run_id)

    await worker.end()
    asking = world.run(run_id)

    assert asking.status is RunStatus.PAUSED
    assert asking.waiting_for[0]["kind"] == "lost"


async def test_a_dead_workers_paused_run_stays_paused_and_asks_when_it_is_resumed(
    world: World, begin: Any
) -> None:
    worker = begin()
    run_id = (await world.trigger(world.workflow(gated("a", "gated_asking"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)
    assert pause(world, run_id)

    worker._orchestrator.drop_all()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET worker_id = NULL"))  # what the reaper does to it
    assert resume(world, run_id)
    await world.until(lambda: bool(world.run(run_id).waiting_for))

    asking = world.run(run_id)
    assert asking.status is RunStatus.PAUSED
    assert asking.waiting_for[0]["kind"] == "lost"
    assert [row.status for row in world.attempts(run_id)] == [AttemptStatus.LOST]


@pytest.mark.usefixtures("worker")
async def test_a_cancelled_run_interrupts_its_attempt_and_the_worker_lets_go(
    world: World, worker: WorkerProcess
) -> None:
    run_id = (await world.trigger(world.workflow(gated("a"), LOG))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    assert cancel(world, run_id)
    await world.until(lambda: worker._orchestrator.in_flight == 0)

    assert world.run(run_id).status is RunStatus.CANCELLED
    assert statuses(world, run_id) == {"a": AttemptStatus.CANCELLED}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_of_two_controls_at_once_one_wins_and_the_other_is_refused(world: World) -> None:
    workflow = world.workflow(LOG)
    run_ids = [(await world.trigger(workflow)).run_id for _ in range(RACES)]

    with ThreadPoolExecutor(8) as people:
        paused = [[people.submit(pause, world, run_id) for _ in range(4)] for run_id in run_ids]
        paused_by = [sum(done.result() for done in tries) for tries in paused]
        cancelled = [[people.submit(cancel, world, run_id) for _ in range(4)] for run_id in run_ids]
        cancelled_by = [sum(done.result() for done in tries) for tries in cancelled]

    assert paused_by == [1] * RACES
    assert cancelled_by == [1] * RACES


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_controls_that_race_with_the_end_of_runs_lose_none(world: World) -> None:
    workflow = world.workflow(LOG, {**LOG, "id": "more"})
    run_ids = [(await world.trigger(workflow)).run_id for _ in range(RACES)]

    def play(number: int, run_id: str) -> bool:
        pause(world, run_id)
        if number % 3 == 0:
            return cancel(world, run_id)
        with world.engine.begin() as connection:
            resume_runs(connection, [run_id], replace(control("resume"), at=LONG_AGO))
        return False

    with ThreadPoolExecutor(4) as people:
        cancelled = list(people.map(play, range(RACES), run_ids))
    runs = [await world.ended(run_id) for run_id in run_ids]

    for run, was_cancelled in zip(runs, cancelled, strict=True):
        expected = RunStatus.CANCELLED if was_cancelled else RunStatus.SUCCEEDED
        assert run.status is expected
        assert run.worker_id is None


async def test_an_attempt_that_will_not_be_cancelled_is_thrown_out(
    world: World, begin: Any
) -> None:
    begin()
    run_id = (await world.trigger(world.workflow(gated("a", "gated_stubborn")))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    cancel(world, run_id)

    # Meanwhile the worker learns again and again that the run is not its own any more.
    await world.until(lambda: GATES["a"].left == 1)
    assert world.run(run_id).status is RunStatus.CANCELLED
