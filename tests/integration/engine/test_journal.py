"""Checkpoints of many runs in one commit: those that the worker holds are written, whatever became of the others."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import AttemptStatus
from app.engine import lease_store, store
from app.engine.checkpoint import Checkpoint
from app.engine.followups import Followups
from app.engine.journal import Journal, Verdict
from app.engine.metrics.meters import WorkerMeters
from app.engine.planning.transitions import begin
from tests.integration.engine.world import World

HELLO = {"id": "hello", "type": "log", "config": {"message": "Hello"}}


@pytest.fixture
def holder(world: World) -> str:
    holder, now = new_id(), SystemClock().now()
    with world.engine.begin() as connection:
        lease_store.INSERT_WORKER.run(
            connection, id=holder, host="here", pid=1, now=now, until=now + timedelta(hours=1)
        )
    return holder


@pytest.fixture
async def journal(world: World, holder: str) -> AsyncIterator[Journal]:
    def follow_up(_: Followups) -> None:
        raise AssertionError("nothing follows")

    journal = Journal(world.engine, lambda: holder, follow_up, WorkerMeters((), lambda: 0, 1))
    yield journal
    await journal.close()


async def claimed(world: World, holder: str, count: int) -> list[str]:
    """Start runs and have the worker claim them."""
    workflow = world.workflow(HELLO)
    runs = [(await world.trigger(workflow)).run_id for _ in range(count)]
    with world.engine.begin() as connection:
        assert len(store.claim(connection, holder, runs, SystemClock().now())) == count
    return runs


def starts(runs: Sequence[str], epoch: int = 1) -> list[Checkpoint]:
    now = SystemClock().now()
    return [
        Checkpoint(run_id, epoch, states=(begin("hello", "log", 0, now, None),)) for run_id in runs
    ]


def begun(world: World, runs: Sequence[str]) -> list[bool]:
    return [bool(world.attempts(run_id)) for run_id in runs]


async def test_what_the_worker_holds_is_written(
    world: World, holder: str, journal: Journal
) -> None:
    runs = await claimed(world, holder, 3)

    verdicts = journal._flush(starts(runs))

    assert verdicts == [Verdict.KEPT] * 3
    assert [world.attempts(run_id)[0].status for run_id in runs] == [AttemptStatus.RUNNING] * 3


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ("worker_id = NULL, status = 'queued'", Verdict.LOST),
        ("epoch = epoch + 1", Verdict.LOST),
        ("status = 'paused'", Verdict.PAUSED),
    ],
    ids=["released", "claimed anew", "paused"],
)
async def test_of_a_batch_only_the_run_that_somebody_has_changed_is_left_out(
    world: World, holder: str, journal: Journal, change: str, verdict: Verdict
) -> None:
    runs = await claimed(world, holder, 3)
    with world.engine.begin() as connection:
        connection.execute(
            text(f"UPDATE runs SET {change} WHERE id = :id"),
            {"id": runs[1]},
        )

    verdicts = journal._flush(starts(runs))

    assert verdicts == [Verdict.KEPT, verdict, Verdict.KEPT]
    assert begun(world, runs) == [True, False, True]


async def test_a_step_that_is_recorded_twice_is_the_same_as_once(
    world: World, holder: str, journal: Journal
) -> None:
    runs = await claimed(world, holder, 1)
    batch = starts(runs)

    verdicts = [*journal._flush(batch), *journal._flush(batch)]

    assert verdicts == [Verdict.KEPT] * 2
    assert len(world.attempts(runs[0])) == 1
