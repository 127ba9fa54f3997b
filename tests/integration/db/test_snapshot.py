"""What is read together is of one moment, whatever is written meanwhile."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError

from app.db.base import make_engine
from app.db.session import snapshot

COUNT = text("SELECT count(*) FROM numbers")


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n integer)"))
    yield engine
    engine.dispose()


def _add(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (1)"))


def test_a_snapshot_does_not_see_what_is_written_after_its_first_look(engine: Engine) -> None:
    with snapshot(engine) as connection:
        before = connection.execute(COUNT).scalar_one()
        _add(engine)
        after = connection.execute(COUNT).scalar_one()

    assert (before, after) == (0, 0)


def test_the_next_transaction_of_its_connection_is_as_any_other(engine: Engine) -> None:
    with snapshot(engine) as connection:
        connection.execute(COUNT)

    with engine.begin() as connection:
        before = connection.execute(COUNT).scalar_one()
        _add(engine)
        after = connection.execute(COUNT).scalar_one()

    assert (before, after) == (0, 1)


def test_a_snapshot_writes_nothing(engine: Engine) -> None:
    with snapshot(engine) as connection, pytest.raises(InternalError, match="read-only"):
        connection.execute(text("INSERT INTO numbers VALUES (1)"))
