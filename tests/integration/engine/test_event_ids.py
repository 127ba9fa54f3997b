"""Ids of events that are forgotten in the moment in which they are used again: on Postgres, for SQLite has one writer at a time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.engine.duties.events import Events
from app.engine.events import store
from app.engine.events.matcher import Matcher
from tests.integration.engine.publisher import DAY, Publisher, ShiftedClock
from tests.integration.engine.world import World


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


async def test_an_event_whose_id_is_just_forgotten_is_stored_and_not_taken_for_an_earlier_one(
    world: World, publish: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish("o-1", id="evt-1")
    later = ShiftedClock(timedelta(days=2).total_seconds())
    duty = Events(world.engine, later, Matcher(world.engine, later, DAY), lambda _: None)
    insert = store.INSERT.run
    forgotten: list[int] = []

    def insert_beside_the_duty(connection: Connection, rows: Sequence[Any]) -> Any:
        inserted = insert(connection, rows)
        if not forgotten:
            forgotten.append(duty.run_once()["expired"])
        return inserted

    monkeypatch.setattr(store.INSERT, "run", insert_beside_the_duty)
    again = await publish("o-1", {"n": 2}, id="evt-1")

    with world.engine.begin() as connection:
        kept = connection.execute(text("SELECT event_id, payload FROM events")).all()
    assert forgotten == [1]
    assert not again.duplicate
    assert [tuple(row) for row in kept] == [("id:evt-1", {"n": 2})]
