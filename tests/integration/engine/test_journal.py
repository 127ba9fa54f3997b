"""Checkpoints of many runs in one commit: those that the worker holds are written, whatever became of the others."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus
from app.engine import lease_store, store
from app.engine.checkpoint import Checkpoint, ended, requeued
from app.engine.followups import Followups
from app.engine.journal import Journal, Verdict
from app.engine.metrics.meters import WorkerMeters
from app.engine.planning.decision import End
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


def ends(runs: Sequence[str], epoch: int = 1) -> list[Checkpoint]:
    now = SystemClock().now()
    over = ended(End(RunStatus.SUCCEEDED, output="done"), now)
    return [Checkpoint(run_id, epoch, leave=over) for run_id in runs]


def _change(world: World, run_id: str, change: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE runs SET {change} WHERE id = :id"), {"id": run_id})


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
    _change(world, runs[1], change)

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


async def test_a_checkpoint_of_an_earlier_epoch_is_refused_beside_one_of_the_same_run(
    world: World, holder: str, journal: Journal
) -> None:
    runs = await claimed(world, holder, 2)
    _change(world, runs[0], "epoch = 2")
    (stale,) = ends(runs[:1])

    verdicts = journal._flush([stale, *starts(runs[:1], epoch=2), *starts(runs[1:])])

    assert verdicts == [Verdict.LOST, Verdict.KEPT, Verdict.KEPT]
    assert world.run(runs[0]).status is RunStatus.RUNNING
    assert begun(world, runs) == [True, True]


async def test_a_run_that_has_left_is_not_given_back_by_who_interrupts_it_in_that_moment(
    world: World, holder: str, journal: Journal
) -> None:
    runs = await claimed(world, holder, 2)
    now = SystemClock().now()
    given_back = Checkpoint(runs[0], 1, leave=requeued(now))

    verdicts = journal._flush([*ends(runs), given_back])

    assert verdicts == [Verdict.KEPT, Verdict.KEPT, Verdict.LOST]
    assert [world.run(run_id).status for run_id in runs] == [RunStatus.SUCCEEDED] * 2
