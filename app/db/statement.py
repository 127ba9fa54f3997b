"""SQL with many rows in one parameter, the same text on Postgres and SQLite.

A batch travels as one JSON array; `{rows}` in the text becomes the function that each database has for reading one.
"""

import zlib
from collections import namedtuple
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson
from psycopg2 import Error
from sqlalchemy import Connection, Dialect, Row, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql.expression import TextualSelect

from app.db.round_trips import Prepared

SqlTypes = Mapping[str, Any]
FIRST_ID, LAST_ID = (
    "'00000000-0000-0000-0000-000000000000'",
    "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
)
ANY_ID = f"BETWEEN {FIRST_ID} AND {LAST_ID}"
"""Says IS NOT NULL of an id. Without statistics, Postgres takes nearly every row for one that has a value, and reads the
whole table; of a range it expects few rows, and goes along the index."""
_SKIP_LOCKED = "FOR UPDATE SKIP LOCKED"
_FOR_UPDATE = "FOR UPDATE"


class Statement:
    """One statement: its text, the columns of its rows (name → SQL type), its other parameters, what it returns.

    In the text, `{rows}` stands for the rows (named `v`), `{among_ids}` for "is the `id` of one of them", as
    `{among_run_ids}` is of `run_id`: Postgres then looks each one up in an index, where it would read a whole table whose statistics are not there yet or tell nothing
    of this moment. `{skip_locked}` stands for the clause that lets workers pass
    each other's rows, `{for_update}` for the one that holds them until the commit (SQLite has one writer at a time and
    needs neither).

    On Postgres, a `hot` one is kept prepared; if it returns nothing, it waits for the next statement or the commit, and
    what is wrong with its rows shows there.
    """

    def __init__(
        self,
        sql: str,
        *,
        rows: Mapping[str, str] | None = None,
        takes: SqlTypes | None = None,
        returns: SqlTypes | None = None,
        hot: bool = False,
    ) -> None:
        self._hot = hot
        self._sql = sql
        self._rows = rows or {}
        self._takes = takes or {}
        self._returns = returns or {}

    def run(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]] = (), **values: Any
    ) -> Sequence[Row[Any]]:
        """Execute; returns the rows that the statement returns."""
        on_postgres = connection.dialect.name == "postgresql"
        if self._rows:
            # Postgres reads RFC 3339, which costs nothing to write; SQLite compares times as text, in one form.
            values["rows"] = orjson.dumps(rows).decode() if on_postgres else encode_rows(rows)
        if on_postgres and self._hot:
            return self._prepared.run(connection, values)
        compiled = self._postgres if on_postgres else self._sqlite
        result = connection.execute(compiled, values)
        return result.fetchall() if self._returns else ()

    @cached_property
    def _prepared(self) -> "_OnPostgres":
        return _OnPostgres(self._postgres, self._takes, self._returns)

    @cached_property
    def _postgres(self) -> TextualSelect | TextClause:
        columns = ", ".join(f"{name} {kind}" for name, kind in self._rows.items())
        rows = f"json_to_recordset(CAST(:rows AS json)) AS v({columns})"
        among = f"= ANY(ARRAY(SELECT {{}} FROM {rows}))"  # noqa: S608 - names from our own code
        return self._build(among, rows=rows, skip_locked=_SKIP_LOCKED, for_update=_FOR_UPDATE)

    @cached_property
    def _sqlite(self) -> TextualSelect | TextClause:
        columns = ", ".join(
            f"value {'->' if kind == 'json' else '->>'} '$.{name}' AS {name}"
            for name, kind in self._rows.items()
        )
        rows = f"(SELECT {columns} FROM json_each(:rows)) AS v"  # noqa: S608 - names from our own code
        among = f"IN (SELECT {{}} FROM {rows})"  # noqa: S608
        return self._build(among, rows=rows, skip_locked="", for_update="")

    def _build(self, among: str, **parts: str) -> TextualSelect | TextClause:
        ids = {f"among_{name}s": among.format(name) for name in ("id", "run_id")}
        clause = text(self._sql.format(**parts, **ids))
        clause = clause.bindparams(
            *(bindparam(name, type_=kind) for name, kind in self._takes.items())
        )
        if not self._returns:
            return clause
        return clause.columns(**self._returns)


class _OnPostgres:
    """A hot statement past SQLAlchemy, whose way takes longer than all else that a process does for a statement."""

    def __init__(
        self, clause: TextualSelect | TextClause, takes: SqlTypes, returns: SqlTypes
    ) -> None:
        dialect: Dialect = PGDialect_psycopg2()  # type: ignore[no-untyped-call]
        text = str(clause.compile(dialect=dialect))
        names = [*takes, "rows"]
        places = {name: f"${place}" for place, name in enumerate(names, 1)}
        given = ", ".join(f"%({name})s" for name in names)
        name = f"hot_{zlib.crc32(text.encode()):08x}"
        self._statement = Prepared(
            name, f"PREPARE {name} AS {text % places}".encode(), f"EXECUTE {name}({given})"
        )
        types = {name: kind.dialect_impl(dialect) for name, kind in takes.items()}
        self._binds = {name: kind.bind_processor(dialect) for name, kind in types.items()}
        impls = {name: kind.dialect_impl(dialect) for name, kind in returns.items()}
        self._reads = {name: kind.result_processor(dialect, None) for name, kind in impls.items()}
        self._columns: tuple[Any, list[Any]] | None = None

    def run(self, connection: Connection, values: dict[str, Any]) -> Sequence[Row[Any]]:
        """Execute, in the transaction that SQLAlchemy knows of."""
        if not connection.in_transaction():
            connection.begin()
        for name, bind in self._binds.items():
            if bind is not None:
                values[name] = bind(values[name])
        link: Any = connection.connection.dbapi_connection
        try:
            found: Sequence[Row[Any]] = link.run(
                self._statement, values, self._read if self._reads else None
            )
        except Error as error:  # SQLAlchemy knows which of them mean that the connection is gone
            connection._handle_dbapi_exception(error, self._statement.call, None, None, None)  # noqa: SLF001
        return found

    def _read(self, cursor: Any) -> Sequence[Any]:
        if self._columns is None:
            names = [column.name for column in cursor.description]
            reads = [self._reads[name] or _as_it_is for name in names]
            self._columns = namedtuple("Row", names), reads
        make, reads = self._columns
        return [
            make(*[read(value) for read, value in zip(reads, row, strict=True)]) for row in cursor
        ]


def _as_it_is(value: Any) -> Any:
    return value


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a batch as JSON text, with times written as both databases read them."""
    return orjson.dumps(
        list(rows), default=_encode, option=orjson.OPT_PASSTHROUGH_DATETIME
    ).decode()


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return (
            value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        )
    raise TypeError(f"{type(value).__name__} cannot be stored")
