"""Transactions: the boundary opens one, and its end is the commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlmodel import Session

from app.db.base import READS_ONLY

_ENDING = "ending"


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Yield a session whose work is committed at the end, or rolled back when anything is raised.

    The database is first touched by the first statement; rows stay readable after the end.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        ending: list[Callable[[Session], None]] = []
        session.info[_ENDING] = ending
        yield session
        if ending:
            session.flush()
        for act in ending:
            act(session)


def before_commit(session: Session, act: Callable[[Session], None]) -> None:
    """Have something done as the last thing before the commit of a `transaction`, when everything else is flushed.

    Raises:
        RuntimeError: the session is not one of `transaction`, or stands in a savepoint: the two would not go together.
    """
    ending = session.info.get(_ENDING)
    if ending is None or session.in_nested_transaction():
        raise RuntimeError(
            "Open the session with `transaction`, and do this outside of savepoints."
        )
    ending.append(act)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, each statement for itself: cheaper than a transaction, and locks nobody out."""
    with engine.connect() as connection:
        yield connection.execution_options(**{READS_ONLY: True}, isolation_level="AUTOCOMMIT")


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, and whose statements all see the database as it is at the first of them."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's transactions are like that
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection
