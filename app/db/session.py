"""Transactions: the boundary opens one, and its end is the commit."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlmodel import Session

from app.db.base import READS_ONLY


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Yield a session whose work is committed at the end, or rolled back when anything is raised.

    The database is first touched by the first statement; rows stay readable after the end.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, each statement for itself: cheaper than a transaction, and locks nobody out."""
    with engine.connect() as connection:
        yield connection.execution_options(**{READS_ONLY: True}, isolation_level="AUTOCOMMIT")
