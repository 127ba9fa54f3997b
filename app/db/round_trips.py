"""Postgres connections that make few round trips.

psycopg2 sends BEGIN, each statement and COMMIT by themselves and waits for each answer, while two processes cool down.
Here BEGIN travels with the first statement, and what nobody awaits an answer to with the next one, or before COMMIT.
Statements that are kept prepared are parsed and planned once for each connection.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg2 import Error, extensions
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, TRANSACTION_STATUS_IDLE
from sqlalchemy import Connection

BEGIN, COMMIT, ROLLBACK, FORGET = b"BEGIN", b"COMMIT", b"ROLLBACK", b"DEALLOCATE ALL"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that is kept prepared: its name, the PREPARE, and the EXECUTE with psycopg2's placeholders."""

    name: str
    definition: bytes
    call: str


class RoundTripConnection(extensions.connection):
    """Looks like psycopg2's. What is wrong with a deferred statement shows when it is sent."""

    def __init__(self, dsn: str, **options: Any) -> None:
        super().__init__(dsn, **options)
        extensions.connection.autocommit.__set__(self, True)  # type: ignore[attr-defined]  # psycopg2 itself is to send no BEGIN
        self.cursor_factory = RoundTripCursor
        self._transactional = True
        self._begun = False
        self._waiting: list[bytes] = []
        self._prepared: set[str] = set()
        self._doubtful = False
        """Whether nobody knows which statements are prepared: something went wrong with what was sent."""
        self.commit_travels = False
        self.each_for_itself = False

    @property
    def autocommit(self) -> bool:
        """Tell whether each statement is a transaction of its own."""
        return not self._transactional

    @autocommit.setter
    def autocommit(self, on: bool) -> None:
        self._transactional = not on

    def set_isolation_level(self, level: int | None) -> None:
        """Switch to autocommit, or back to transactions, which are as the server has them by default."""
        self.rollback()
        self.autocommit = level == ISOLATION_LEVEL_AUTOCOMMIT

    def cursor(self, name: str | None = None, **options: Any) -> Any:  # type: ignore[override]  # as much of it as is used
        """Return a cursor; one with a name lives on the server until it is closed."""
        if name is None:
            return super().cursor(**options)
        return super().cursor(name, withhold=True, **options)  # psycopg2 knows of no transaction

    def run(
        self,
        statement: Prepared,
        values: Any,
        read: Callable[[extensions.cursor], Sequence[Any]] | None,
    ) -> Sequence[Any]:
        """Execute a prepared statement and read its rows; without `read`, it is only sent with the next one, or COMMIT."""
        with self.cursor() as one:
            text: bytes = one.mogrify(statement.call, values)
            self._open()
            if statement.name not in self._prepared:
                self._prepared.add(statement.name)
                self._waiting.append(statement.definition)
            if read is None and self._begun:
                self._waiting.append(text)
                return ()
            one.execute(text)
            return () if read is None else read(one)

    def send(self, execute: Callable[[bytes], object], *texts: bytes) -> None:
        """Execute what waits, and statements after it."""
        self._open()
        together = b"; ".join([*self._waiting, *texts])
        self._waiting.clear()
        try:
            if together:
                execute(together)
        except Error:
            self._doubtful = True
            raise

    def commit(self) -> None:
        """Commit. A process that dies while what waits is written has committed nothing, unless COMMIT travels with it."""
        if self._begun:
            if self._waiting and not self.commit_travels:
                self.send_waiting()
            self._control(COMMIT)
        self._begun = self.commit_travels = self.each_for_itself = False

    def rollback(self) -> None:
        """Undo what has been sent, and forget what waits."""
        if self._waiting:
            self._waiting.clear()
            self._doubtful = True
        if self._begun and self.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self._control(ROLLBACK)
        self._begun = self.commit_travels = self.each_for_itself = False

    def send_waiting(self) -> None:
        """Execute what waits."""
        self._control()

    def _control(self, *texts: bytes) -> None:
        with self.cursor() as one:
            self.send(partial(extensions.cursor.execute, one), *texts)

    def _open(self) -> None:
        """Begin a transaction unless there is one, with the next statement that is sent."""
        if self._begun:
            return
        if self._doubtful:
            self._doubtful = False
            self._prepared.clear()
            self._waiting.append(FORGET)
        if self._transactional and not self.each_for_itself:
            self._begun = True
            self._waiting.append(BEGIN)


class RoundTripCursor(extensions.cursor):
    """Sends what waits on its connection together with its own statement."""

    connection: RoundTripConnection

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """Execute a statement."""
        if self.name is None:
            self.connection.send(super().execute, self.mogrify(query, vars))
        else:
            self.connection.send_waiting()
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Execute a statement for each of many values."""
        self.connection.send_waiting()
        super().executemany(query, vars_list)


def let_commit_travel(connection: Connection) -> None:
    """Let the COMMIT of the transaction travel with what waits: it is committed even if this process dies meanwhile."""
    link = connection.connection.dbapi_connection
    if isinstance(link, RoundTripConnection):
        link.commit_travels = True


def commit_each(connection: Connection, each: bool) -> None:
    """Let statements from now on be committed with their answers, or belong together again, until the transaction ends.

    Where one statement writes all that belongs together, that saves the round trip of its COMMIT. What it has answered is
    committed, whatever fails after it. SQLite makes no round trips: there, all stay together.
    """
    link = connection.connection.dbapi_connection
    if isinstance(link, RoundTripConnection):
        link.each_for_itself = each
