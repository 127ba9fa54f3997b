"""A worker's lease: what it may start, and whom it may take for dead."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from app.core.clock import SyncedClock
from app.db.base import make_engine
from app.engine import lease_store, store
from app.engine.lease import Lease
from app.models import Worker


class HandClock(SyncedClock):
    """A clock whose monotonic seconds the test moves."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def lease(engine: Engine, clock: HandClock) -> Lease:
    return Lease(engine, clock, seconds=10)


def workers(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return [worker.id for worker in session.exec(select(Worker))]


def test_nothing_may_start_before_it_begins(lease: Lease) -> None:
    assert not lease.valid()


def test_it_holds_for_its_seconds_and_is_prolonged_by_a_renewal(
    lease: Lease, clock: HandClock, engine: Engine
) -> None:
    lease.begin()
    clock.seconds += 9
    assert lease.valid()

    assert lease.renew()
    clock.seconds += 9

    assert lease.valid()
    assert workers(engine) == [lease.worker_id]


def test_it_lapses_by_itself_when_it_cannot_be_renewed(lease: Lease, clock: HandClock) -> None:
    lease.begin()

    clock.seconds += 10

    assert not lease.valid()


def test_a_worker_that_was_reaped_learns_it_and_begins_anew(lease: Lease, engine: Engine) -> None:
    lease.begin()
    first = lease.worker_id
    with engine.begin() as connection:
        later = store.database_now(connection) + timedelta(seconds=60)
        dead = lease_store.DELETE_DEAD_WORKERS.run(connection, now=later)

    assert [row.id for row in dead] == [first]
    assert not lease.renew()
    lease.begin()

    assert workers(engine) == [lease.worker_id] != [first]


def test_others_are_taken_for_dead_only_after_ours_has_held_a_while(
    lease: Lease, clock: HandClock
) -> None:
    lease.begin()
    assert not lease.may_reap()

    clock.seconds += 8

    assert lease.may_reap()


def test_after_an_outage_the_others_get_the_time_to_renew(lease: Lease, clock: HandClock) -> None:
    lease.begin()
    clock.seconds += 60

    lease.renew()

    assert lease.valid()
    assert not lease.may_reap()


def test_given_up_it_leaves_nothing(lease: Lease, engine: Engine) -> None:
    lease.begin()

    lease.end()

    assert not lease.valid()
    assert workers(engine) == []
