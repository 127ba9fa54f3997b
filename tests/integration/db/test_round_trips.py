"""Connections that send BEGIN, and what nobody awaits, together with what follows keep every promise of psycopg2's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Integer, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session

from app.db.base import make_engine
from app.db.round_trips import RoundTripConnection, commit_each, let_commit_travel
from app.db.session import reading, transaction
from app.db.statement import Statement

PUT = Statement(
    "INSERT INTO numbers (n) SELECT n FROM {rows} WHERE true", rows={"n": "integer"}, hot=True
)
TAKE = Statement(
    "SELECT n FROM numbers WHERE n IN (SELECT n FROM {rows}) AND n < :below ORDER BY n",
    rows={"n": "integer"},
    takes={"below": Integer()},
    returns={"n": Integer()},
    hot=True,
)
INSERT = text("INSERT INTO numbers (n) VALUES (:n)")
ALL = [{"n": n} for n in range(10)]


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n integer PRIMARY KEY)"))
    yield engine
    engine.dispose()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes to the server, one entry for each round trip."""
    texts: list[bytes] = []
    send = RoundTripConnection.send

    def noting(self: RoundTripConnection, execute: Any, *given: bytes) -> None:
        def note(together: bytes) -> None:
            texts.append(together)
            execute(together)

        send(self, note, *given)

    monkeypatch.setattr(RoundTripConnection, "send", noting)
    return texts


def there(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return [row.n for row in TAKE.run(connection, ALL, below=100)]


def put(connection: Connection, *numbers: int) -> None:
    PUT.run(connection, [{"n": n} for n in numbers])


def together(engine: Engine, *doing: Callable[[Connection], object]) -> None:
    with engine.begin() as connection:
        for do in doing:
            do(connection)


def fail(_: Connection) -> None:
    raise RuntimeError


def test_what_nobody_awaits_travels_together_and_the_commit_by_itself(
    engine: Engine, sent: list[bytes]
) -> None:
    for first in (1, 3):  # the first time, the statements are prepared
        sent.clear()
        with engine.begin() as connection:
            put(connection, first)
            put(connection, first + 1)

    (writing, commit) = sent
    assert writing.startswith(b"BEGIN; EXECUTE hot_")
    assert writing.count(b"; ") == 2
    assert commit == b"COMMIT"
    assert there(engine) == [1, 2, 3, 4]


def test_a_transaction_is_two_round_trips_when_its_commit_may_travel(
    engine: Engine, sent: list[bytes]
) -> None:
    for numbers in ((1, 2), (3,)):
        sent.clear()
        with engine.begin() as connection:
            let_commit_travel(connection)
            TAKE.run(connection, ALL, below=100)
            put(connection, *numbers)

    first, last = sent
    assert first.startswith(b"BEGIN; EXECUTE hot_")
    assert last.startswith(b"EXECUTE hot_")
    assert last.endswith(b"; COMMIT")
    assert there(engine) == [1, 2, 3]


def test_statements_that_are_committed_each_need_no_commit_and_no_begin(
    engine: Engine, sent: list[bytes]
) -> None:
    def look_and_write(connection: Connection, number: int) -> None:
        commit_each(connection, True)
        TAKE.run(connection, ALL, below=100)
        put(connection, number)

    together(
        engine, lambda it: look_and_write(it, 1)
    )  # the first time, the statements are prepared
    sent.clear()
    with pytest.raises(RuntimeError):
        together(engine, lambda it: look_and_write(it, 2), fail)

    assert [text[:8] for text in sent] == [b"EXECUTE "] * 2
    assert there(engine) == [1, 2]


def test_statements_belong_together_again_when_told_and_in_the_next_transaction(
    engine: Engine,
) -> None:
    def each(connection: Connection) -> None:
        commit_each(connection, True)

    def not_each(connection: Connection) -> None:
        commit_each(connection, False)

    with pytest.raises(RuntimeError):
        together(engine, each, lambda it: put(it, 1), not_each, lambda it: put(it, 2), fail)
    with pytest.raises(RuntimeError):
        together(engine, lambda it: put(it, 3), fail)

    assert there(engine) == [1]


def test_a_statement_sees_what_was_put_off_before_it(engine: Engine) -> None:
    with engine.begin() as connection:
        put(connection, 1)
        found = connection.execute(text("SELECT n FROM numbers")).scalars().all()

    assert found == [1]


def test_what_was_put_off_is_forgotten_when_the_transaction_is_undone(engine: Engine) -> None:
    with pytest.raises(RuntimeError):
        together(engine, lambda it: put(it, 1), fail)
    with engine.begin() as connection:
        put(connection, 2)

    assert there(engine) == [2]


def test_what_is_wrong_with_it_shows_at_the_commit_and_undoes_everything(engine: Engine) -> None:
    with pytest.raises(IntegrityError):
        together(engine, lambda it: it.execute(INSERT, {"n": 5}), lambda it: put(it, 5))

    assert there(engine) == []


def test_after_any_fault_the_same_connection_prepares_its_statements_anew(engine: Engine) -> None:
    for _ in range(2):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            put(connection, 1, 1)
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text("SELECT nonsense"))
    with engine.begin() as connection:
        put(connection, 1)

    assert there(engine) == [1]


def test_a_fault_of_a_statement_on_its_own_does_no_harm_to_the_next(engine: Engine) -> None:
    with reading(engine) as connection:
        TAKE.run(connection, ALL, below=100)
        with pytest.raises(DBAPIError):
            TAKE.run(connection, [{"n": "no number"}], below=100)
        found = TAKE.run(connection, ALL, below=100)

    assert found == []


def test_a_statement_on_its_own_is_written_at_once(engine: Engine, sent: list[bytes]) -> None:
    with reading(engine) as connection:
        put(connection, 1)
        sent.clear()
        found = TAKE.run(connection, ALL, below=100)

    assert [row.n for row in found] == [1]
    assert b"BEGIN" not in sent[0]


def test_values_and_signs_of_percent_arrive_as_they_are(engine: Engine) -> None:
    with engine.begin() as connection:
        found = connection.execute(text("SELECT '100 %' || :more"), {"more": " %s"}).scalar_one()

    assert found == "100 % %s"


def test_rows_can_be_read_a_few_at_a_time(engine: Engine) -> None:
    with transaction(engine) as session:
        put(session.connection(), *range(10))
    with Session(engine) as session:
        query = text("SELECT n FROM numbers ORDER BY n").execution_options(yield_per=3)
        found = session.connection().execute(query).scalars().all()

    assert found == [*range(10)]


def test_many_rows_of_one_insert_are_one_transaction(engine: Engine) -> None:
    with pytest.raises(IntegrityError):
        together(
            engine,
            lambda it: it.execute(INSERT, [{"n": 1}, {"n": 2}]),
            lambda it: it.execute(INSERT, [{"n": 3}, {"n": 1}]),
        )

    assert there(engine) == []


def test_a_connection_that_is_gone_is_noticed_and_replaced(
    engine: Engine, postgres_url: str
) -> None:
    other = make_engine(postgres_url)

    def end(connection: Connection) -> None:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with other.begin() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with pytest.raises(OperationalError) as fault:
        together(engine, end, lambda it: TAKE.run(it, ALL, below=100))
    other.dispose()

    assert fault.value.connection_invalidated
    assert there(engine) == []


def test_a_session_and_a_hot_statement_share_their_transaction(engine: Engine) -> None:
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)

    with transaction(engine) as session:
        put(session.connection(), 1)

    assert len(commits) == 1
    assert there(engine) == [1]
