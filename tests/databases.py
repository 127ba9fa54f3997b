"""Postgres databases for tests: each is cloned from a migrated template, and emptied when it can be lent again.

A clone costs the server some 100 ms of processor time, emptying one 5 ms.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from app.core.ids import new_id

TEMPLATE = "automateos_template"
LARGE_BYTES = 1_000_000
"""Rows that were deleted keep their place: who has written so much leaves a database unlike a new one."""
CATALOGS = (
    "pg_attribute", "pg_class", "pg_constraint", "pg_index", "pg_namespace", "pg_policy", "pg_proc", "pg_sequence",
    "pg_statistic", "pg_trigger", "pg_type",
)  # fmt: skip
SCHEMA = " UNION ALL ".join(
    f"SELECT count(*), sum(xmin::text::bigint) FROM {it}" for it in CATALOGS
)
"""Changes with everything but rows: whatever writes to a catalog leaves its transaction's number there."""
END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = """
SELECT tablename, pg_relation_size(format('%I.%I', schemaname, tablename)::regclass)
FROM pg_tables WHERE schemaname = 'public'
"""


class Databases:
    """Lends databases of the server at `url` that hold what the template holds, each to one at a time.

    The last `resting` ones that came back stay back: who was connected may not have gone, and Postgres would wait for that.
    """

    def __init__(self, url: str, *, resting: int = 1) -> None:
        self._url = url
        self._resting = resting
        self._keeper = _connect(url)
        self._free: deque[str] = deque()
        self._schemas: dict[str, Any] = {}
        self._rows: dict[str, str] = {}
        """What the template holds: the text of its rows, by table."""

    def close(self) -> None:
        """Let go of the server, which is thrown away with all that is left on it."""
        self._keeper.close()

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the address of a database."""
        is_rested = len(self._free) > self._resting
        name = self._rename(self._free.popleft()) if is_rested else self._clone()
        yield self._url_of(name)
        if self._empty(name):
            self._free.append(name)
        else:
            self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def _clone(self) -> str:
        name = _new_name()
        self._administer("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, TEMPLATE)
        with closing(_connect(self._url_of(name))) as connection:
            self._schemas[name] = _schema_of(connection)
            self._rows = self._rows or _rows_of(connection)
        return name

    def _rename(self, old: str) -> str:
        """Give a database a name that nobody knows who has had to do with it before."""
        name = _new_name()
        self._administer("ALTER DATABASE {} RENAME TO {}", old, name)
        self._administer("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        self._schemas[name] = self._schemas.pop(old)
        return name

    def _empty(self, name: str) -> bool:
        """Shut everybody out and leave what the template holds; tell whether the rest is as new."""
        with closing(_connect(self._url_of(name))) as connection, connection.cursor() as cursor:
            self._administer("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
            cursor.execute(END_OTHERS)
            cursor.execute(TABLES)
            sizes = dict(cursor.fetchall())
            if sum(sizes.values()) > LARGE_BYTES or _schema_of(connection) != self._schemas[name]:
                return False
            # Without this, triggers would run: some keep rows from being deleted, others see to foreign keys.
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                SQL(";").join(_sql("DELETE FROM {}", it) for it, size in sizes.items() if size)
            )
            for table, rows in self._rows.items():
                cursor.copy_expert(_sql("COPY {} FROM STDIN", table), StringIO(rows))
        return True

    def _administer(self, text: str, *names: str) -> None:
        with self._keeper.cursor() as cursor:
            cursor.execute(_sql(text, *names))

    def _url_of(self, name: str) -> str:
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)


def _new_name() -> str:
    return f"test_{new_id().replace('-', '')}"


def _connect(url: str) -> extensions.connection:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


def _sql(text: str, *names: str) -> Any:
    return SQL(text).format(*map(Identifier, names))


def _schema_of(connection: extensions.connection) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(SCHEMA)
        return cursor.fetchall()


def _rows_of(connection: extensions.connection) -> dict[str, str]:
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        for table, size in cursor.fetchall():
            if size:
                cursor.copy_expert(_sql("COPY {} TO STDOUT", table), rows := StringIO())
                found[table] = rows.getvalue()
    return found
