"""Transactions of several workers that meet at the same rows on Postgres: they lock in one order, or pass each other's rows.

SQLite has one writer at a time, so nothing of this can happen there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import Connection, Engine, text

from app.core.clock import SystemClock
from app.core.errors import Replayed
from app.core.ids import new_id
from app.core.statuses import TriggerKind
from app.db.base import make_engine
from app.engine import deliveries, lease_store
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Control
from app.engine.hooks import store as hooks
from app.engine.intake import Accepted, NewRun, Refused, SignedDelivery, accept
from app.engine.waiting.ending import lock_runs

NOW = SystemClock().now()
PATIENCE_SECONDS = 20.0


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url)
    yield engine
    engine.dispose()


def _runs(engine: Engine, number: int) -> list[str]:
    """Make runs of nobody in particular; their ids grow."""
    ids = sorted(new_id() for _ in range(number))
    runs = [
        NewRun(new_id(), new_id(), new_id(), 1, TriggerKind.MANUAL, None, id=run_id)
        for run_id in ids
    ]
    with engine.begin() as connection:
        accept(connection, runs, NOW)
    return ids


def _wait_for(engine: Engine, parent: str, child: str) -> None:
    """Let a step of one run wait for another run."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO waits (run_id, path, attempt, owner_id, kind, on_due, data, child_run_id, created_at, fresh) "
                "VALUES (:parent, 'call', 1, :parent, 'run', '{}', '{}', :child, now(), false)"
            ),
            {"parent": parent, "child": child},
        )


def _never_wait(connection: Connection) -> None:
    connection.execute(text("SET LOCAL lock_timeout = '50ms'"))


def test_cancelling_runs_with_those_below_them_meets_a_worker_without_waiting_in_a_circle(
    engine: Engine,
) -> None:
    parent, child, other = _runs(engine, 3)
    _wait_for(engine, parent, child)
    begun = Event()

    def cancel() -> frozenset[str]:
        with engine.begin() as connection:
            begun.set()
            return cancel_runs(connection, [parent, other], Control("cancel", "ada", NOW))

    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            lock_runs(connection, [child])
            cancelling = thread.submit(cancel)
            _until_somebody_waits(engine)
            lock_runs(connection, [other])  # as a worker's checkpoints do, in the order of ids

        assert cancelling.result(PATIENCE_SECONDS) == {parent, child, other}


def test_a_run_that_begins_below_a_cancelled_one_is_left_to_be_cancelled(engine: Engine) -> None:
    parent, early, late = _runs(engine, 3)
    _wait_for(engine, parent, early)

    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            lock_runs(connection, [early])
            cancelling = thread.submit(_cancel, engine, parent)
            _until_somebody_waits(engine)
            _wait_for(engine, early, late)
        cancelled = cancelling.result(PATIENCE_SECONDS)

    with engine.begin() as connection:
        left = connection.execute(text("SELECT child_run_id, on_due FROM waits")).all()
    assert cancelled == {parent, early}
    assert [(str(child), on_due) for child, on_due in left] == [(late, None)]


def _cancel(engine: Engine, run_id: str) -> frozenset[str]:
    with engine.begin() as connection:
        return cancel_runs(connection, [run_id], Control("cancel", "ada", NOW))


def _until_somebody_waits(engine: Engine) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = SystemClock().monotonic() + PATIENCE_SECONDS
    with engine.connect() as connection:
        while not connection.execute(waiting).scalar_one():
            assert SystemClock().monotonic() < deadline
            connection.rollback()  # what is seen of others stays the same within a transaction


@pytest.mark.parametrize("has_id", [True, False])
def test_signed_deliveries_that_two_processes_take_at_once_are_taken_in_one_order(
    engine: Engine, has_id: bool
) -> None:
    first, second = _in_order(new_id(), has_id=has_id)
    signed_anew = [_signed(run, "anew") if has_id else run for run in (second, first)]

    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            deliveries.accept_once(connection, [first], NOW)
            taking = thread.submit(_take, engine, signed_anew)
            _until_somebody_waits(engine)
            _never_wait(connection)  # the other process holds nothing yet
            deliveries.accept_once(connection, [second], NOW)
        answers = taking.result(PATIENCE_SECONDS)

    replayed = [isinstance(answer, Replayed) for answer in answers]
    assert replayed == [has_id] * 2
    assert all(has_id or answer.duplicate for answer in answers)  # type: ignore[union-attr]


def _in_order(workflow_id: str, *, has_id: bool) -> list[NewRun]:
    """Return two signed calls as they are to be taken; signed anew, they come in the other order by what is signed."""
    while True:
        calls = [_signed_call(workflow_id, has_id=has_id) for _ in range(2)]
        rows = [deliveries._row(new_id(), call, NOW) for call in calls]
        anew = [deliveries._row(new_id(), _signed(call, "anew"), NOW)["key"] for call in calls]
        leading = [row["sender_key" if has_id else "key"] for row in rows]
        if leading == sorted(leading) and anew != sorted(anew):
            return calls


def _signed_call(workflow_id: str, *, has_id: bool) -> NewRun:
    known_by = SignedDelivery(new_id(), new_id() if has_id else None, 60)
    owner_id, version_id = new_id(), new_id()
    return NewRun(
        owner_id, workflow_id, version_id, 1, TriggerKind.WEBHOOK, None, delivery=known_by
    )


def _signed(run: NewRun, how: str) -> NewRun:
    assert run.delivery is not None
    return replace(run, delivery=replace(run.delivery, key=f"{run.delivery.key} {how}"))


def _take(engine: Engine, runs: list[NewRun]) -> list[Accepted | Refused | Replayed]:
    with engine.begin() as connection:
        return deliveries.accept_once(connection, runs, NOW)


def test_hook_calls_that_another_worker_takes_are_passed_over(engine: Engine) -> None:
    urls = ["https://a.example", "https://b.example"]
    due = NOW - timedelta(seconds=1)
    rows = [
        {"run_id": new_id(), "url": url, "next_try_at": due, "last_error": None} for url in urls
    ]
    again = NOW + timedelta(seconds=60)
    with engine.begin() as connection:
        hooks.PUT_CALLS.run(connection, rows)

    with engine.begin() as one, engine.begin() as another:
        _never_wait(another)
        first = hooks.TAKE_CALLS.run(one, now=NOW, again=again, batch=1)
        second = hooks.TAKE_CALLS.run(another, now=NOW, again=again, batch=2)
        hooks.POSTPONE_CALLS.run(another, now=NOW, again=again)

    assert sorted(row.url for row in (*first, *second)) == urls


def test_strays_that_somebody_else_is_writing_are_passed_over(engine: Engine) -> None:
    worker_id = new_id()
    held, free = _runs(engine, 2)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE runs SET status = 'running', worker_id = :id"), {"id": worker_id}
        )

    with engine.begin() as one, engine.begin() as another:
        _never_wait(another)
        lock_runs(one, [held])
        released = lease_store.RELEASE_STRAYS.run(another, [], worker_id=worker_id, again=NOW)

    assert [row.id for row in released] == [free]
