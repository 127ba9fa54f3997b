"""Connections to Postgres that break between a statement and its answer, and rows that others hold meanwhile.

What was committed counts once, whoever asks for it again; what was not leaves nothing behind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Connection, text

from app.core.clock import SyncedClock, SystemClock
from app.core.errors import Unavailable
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.db.round_trips import RoundTripConnection
from app.engine import journal as journals
from app.engine import lease_store, store
from app.engine.attempt.context import LogLine
from app.engine.checkpoint import Checkpoint, ended
from app.engine.duties.signals import Signals
from app.engine.intake import NewRun, accept
from app.engine.journal import Journal, Verdict
from app.engine.language.plan import RetryPolicy
from app.engine.lease import Lease
from app.engine.metrics.meters import WorkerMeters
from app.engine.planning.decision import End
from app.engine.planning.transitions import Succeeded, begin, settle
from app.engine.waiting import store as waits
from tests.integration.engine.world import World

LOG = {"id": "hello", "type": "log", "config": {"message": "Hello"}}
NOW = SystemClock().now()
PATIENCE_SECONDS = 20.0
POLICY = RetryPolicy()
WAIT = {
    "path": "nap",
    "attempt": 1,
    "owner_id": new_id(),
    "kind": "timer",
    "due_at": NOW,
    "on_due": {},
    "data": {},
    "created_at": NOW,
    "fresh": False,
}
Break = Callable[[bytes, bool], None]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def break_at(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Have the connection break, once, when it sends such a text: before the server has it, or before its answer comes."""
    send = RoundTripConnection.send

    def break_at(part: bytes, arrives: bool) -> None:
        armed = [True]

        def sending(self: RoundTripConnection, execute: Any, *texts: bytes) -> None:
            def execute_or_break(together: bytes) -> None:
                breaks = part in together and armed and armed.pop()
                if arrives or not breaks:
                    execute(together)
                if breaks:
                    self.close()
                    raise psycopg2.OperationalError("server closed the connection unexpectedly")

            send(self, execute_or_break, *texts)

        monkeypatch.setattr(RoundTripConnection, "send", sending)

    return break_at


@pytest.fixture
def holder(world: World) -> str:
    holder = new_id()
    with world.engine.begin() as connection:
        lease_store.INSERT_WORKER.run(
            connection, id=holder, host="here", pid=1, now=NOW, until=NOW + timedelta(hours=1)
        )
    return holder


@pytest.fixture
async def journal(
    world: World, holder: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Journal]:
    monkeypatch.setattr(journals, "FIRST_PAUSE_SECONDS", 0.0)
    journal = Journal(world.engine, lambda: holder, lambda _: None, WorkerMeters((), lambda: 0, 1))
    yield journal
    await journal.close()


async def claimed(world: World, holder: str, count: int = 1) -> list[str]:
    """Start runs and have the worker claim them; their ids grow."""
    workflow = world.workflow(LOG)
    runs = sorted([(await world.trigger(workflow)).run_id for _ in range(count)])
    with world.engine.begin() as connection:
        assert len(store.claim(connection, holder, runs, NOW)) == count
    return runs


def done(run_id: str, *, leaves: bool = False) -> Checkpoint:
    """Return the checkpoint in which a step has ended that wrote a line."""
    running = begin("hello", "log", 0, NOW, None)
    state = settle(running, Succeeded("Hello", "out"), POLICY, NOW, lambda: 0.0)
    leave = ended(End(RunStatus.SUCCEEDED, output="Hello"), NOW) if leaves else None
    lines = ((state, LogLine(NOW, "info", "Hello", None), 0),)
    return Checkpoint(run_id, 1, (state,), lines, leave, ended=(state,))


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "not committed"])
async def test_a_checkpoint_whose_commit_is_not_answered_is_written_once(
    world: World, holder: str, journal: Journal, break_at: Break, arrives: bool
) -> None:
    (run_id,) = await claimed(world, holder)
    break_at(b"COMMIT", arrives)

    verdict = await journal.write(done(run_id))

    assert verdict is Verdict.KEPT
    assert [row.status for row in world.attempts(run_id)] == [AttemptStatus.SUCCEEDED]
    assert len(world.logs(run_id)) == 1


@pytest.mark.parametrize(
    ("arrives", "verdict"),
    [(True, Verdict.LOST), (False, Verdict.KEPT)],
    ids=["committed", "not committed"],
)
async def test_a_run_whose_last_commit_is_not_answered_has_ended_and_is_let_go(
    world: World, holder: str, journal: Journal, break_at: Break, arrives: bool, verdict: Verdict
) -> None:
    (run_id,) = await claimed(world, holder)
    break_at(b"COMMIT", arrives)

    assert await journal.write(done(run_id, leaves=True)) is verdict
    run = world.run(run_id)
    assert (run.status, run.output, run.worker_id) == (RunStatus.SUCCEEDED, "Hello", None)
    assert len(world.logs(run_id)) == 1


async def test_the_end_of_a_wait_is_kept_for_a_run_that_is_not_in_anybody_s_hands_yet(
    world: World, holder: str
) -> None:
    runs = await claimed(world, holder, 2)
    lease = Lease(world.engine, SyncedClock(), 60)
    lease.begin()
    nap = {"path": "nap", "attempt": 1, "resolution": {"output": 1, "port": "out"}}
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE runs SET worker_id = :id, signalled = true"), {"id": lease.worker_id}
        )
        waits.OPEN.run(connection, [{**WAIT, "run_id": run_id} for run_id in runs])
        waits.RESOLVE.run(connection, [{**nap, "run_id": run_id} for run_id in runs])
    held = dict.fromkeys(runs[:1], 1)
    told: list[str] = []
    signals = Signals(world.engine, lease, lambda: held, told.extend, lambda _: None)

    signals.run_once()
    assert told == runs[:1]

    held = dict.fromkeys(runs, 1)
    signals.run_once()
    assert told == runs
    assert signals.run_once() == {"signalled": 0, "gone": 0}


async def test_of_a_batch_the_run_that_is_taken_while_it_waits_is_left_out(
    world: World, holder: str, journal: Journal
) -> None:
    runs = await claimed(world, holder, 3)

    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE runs SET worker_id = NULL, status = 'cancelled' WHERE id = :id"),
            {"id": runs[1]},
        )
        writing = asyncio.create_task(
            asyncio.to_thread(journal._flush, [done(run_id, leaves=True) for run_id in runs])
        )
        await _until_somebody_waits(world, writing)

    assert await writing == [Verdict.KEPT, Verdict.LOST, Verdict.KEPT]
    assert [len(world.attempts(run_id)) for run_id in runs] == [1, 0, 1]
    assert world.run(runs[1]).status is RunStatus.CANCELLED


async def test_a_division_by_zero_that_is_not_the_fence_s_is_the_fault_of_its_run_alone(
    world: World, holder: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    guilty, *others = await claimed(world, holder, 3)
    write = journals.write_checkpoints

    def divide(connection: Connection, batch: Any) -> Any:
        if any(item.run_id == guilty for item in batch):
            connection.execute(text("SELECT 1 / 0"))
        return write(connection, batch)

    monkeypatch.setattr(journals, "write_checkpoints", divide)

    answers = await asyncio.gather(
        *(journal.write(done(run_id)) for run_id in (guilty, *others)), return_exceptions=True
    )

    assert isinstance(answers[0], Exception)
    assert answers[1:] == [Verdict.KEPT] * 2
    assert [len(world.attempts(run_id)) for run_id in (guilty, *others)] == [0, 1, 1]


@pytest.mark.parametrize("arrives", [True, False], ids=["stored", "not stored"])
async def test_a_lone_trigger_that_is_not_answered_is_one_run_when_it_comes_again(
    world: World, break_at: Break, arrives: bool
) -> None:
    workflow_id = world.workflow(LOG)
    break_at(store.INSERT_RUNS._prepared._statement.name.encode(), arrives)

    with pytest.raises(Unavailable):
        await world.trigger(workflow_id, key="k")
    stored = [run.id for run in world.runs()]
    again = await world.trigger(workflow_id, key="k")

    assert len(stored) == int(arrives)
    assert again.duplicate is arrives
    assert [run.id for run in world.runs()] == [again.run_id]


@pytest.mark.parametrize("keeps", [True, False], ids=["commits", "rolls back"])
async def test_a_lone_trigger_waits_for_whoever_has_its_key_and_is_answered_by_what_that_does(
    world: World, keeps: bool
) -> None:
    workflow_id = world.workflow(LOG)
    before = await world.trigger(workflow_id)  # the version is known, and the statements prepared
    first = world.run(before.run_id)
    other = NewRun(
        world.owner_id,
        workflow_id,
        first.version_id,
        1,
        TriggerKind.WEBHOOK,
        None,
        idempotency_key="key:k",
        id=new_id(),
    )

    with world.engine.connect() as connection:
        accept(connection, [other], NOW)
        asking = asyncio.create_task(world.trigger(workflow_id, key="k"))
        await _until_somebody_waits(world, asking)
        connection.commit() if keeps else connection.rollback()
    answer = await asking

    assert (answer.run_id == other.id, answer.duplicate) == (keeps, keeps)
    assert {run.id for run in world.runs()} == {before.run_id, answer.run_id}


@pytest.mark.usefixtures("worker")
async def test_what_a_claim_has_done_whose_commit_is_not_answered_is_not_done_again(
    world: World, break_at: Break
) -> None:
    workflow_id = world.workflow(LOG, {"id": "nap", "type": "delay", "config": {"seconds": 0}})
    await world.start(workflow_id)  # the worker knows by now what it may start
    break_at(b"; COMMIT", True)

    run = await world.start(workflow_id)

    assert (run.status, run.epoch > 1) == (RunStatus.SUCCEEDED, True)
    assert [row.path for row in world.attempts(run.id) if row.path == "hello"] == ["hello"]
    assert len(world.logs(run.id)) == 1


async def _until_somebody_waits(world: World, waiting: asyncio.Task[Any]) -> None:
    """Wait until a connection waits for a lock of another one."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await asyncio.to_thread(_waits, world):
        assert not waiting.done(), "nothing is waited for"
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def _waits(world: World) -> bool:
    with world.engine.connect() as connection:
        return bool(
            connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            ).scalar_one()
        )
