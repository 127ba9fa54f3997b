"""A look into the platform's database, and points at which it can be made to stand still."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import create_engine, text

from app.db.base import database_url
from tests.e2e.crash.harness.waiting import PATIENCE_SECONDS, wait_until

GATE = 4711


class Database:
    """Runs SQL, each statement on its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(
            database_url(url), pool_pre_ping=True, isolation_level="AUTOCOMMIT"
        )

    def rows(self, sql: str, **values: object) -> list[Mapping[str, Any]]:
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            result = connection.execute(text(sql), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def close(self) -> None:
        """Hang up."""
        self._engine.dispose()

    def count(self, sql: str, **values: object) -> int:
        """Return the number that a query counts."""
        (row,) = self.rows(sql, **values)
        return int(next(iter(row.values())))

    def workers(self) -> set[int]:
        """Return the process ids of the workers that are registered."""
        return {row["pid"] for row in self.rows("SELECT pid FROM workers")}

    def attempts(self, run_id: str) -> list[tuple[str, int, str]]:
        """Return path, number and status of a run's attempts, in order."""
        sql = "SELECT path, attempt, status FROM steps WHERE run_id = :run_id ORDER BY seq, attempt"
        return [(r["path"], r["attempt"], r["status"]) for r in self.rows(sql, run_id=run_id)]

    def histories(self) -> dict[str, tuple[tuple[str, int, str], ...]]:
        """Return the attempts of every run, in order."""
        attempts: defaultdict[str, list[tuple[str, int, str]]] = defaultdict(list)
        for row in self.rows("SELECT * FROM steps ORDER BY seq, attempt"):
            attempts[str(row["run_id"])].append((row["path"], row["attempt"], row["status"]))
        return {run_id: tuple(found) for run_id, found in attempts.items()}

    @contextmanager
    def standstill(self, table: str, condition: str, *, at_commit: bool) -> Iterator[None]:
        """Hold up every transaction that writes such a row, inside its statement or at its commit, until the end."""
        timing = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        self.rows(
            f"""
            CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER stand_still AFTER INSERT OR UPDATE ON {table} {timing}
            FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION stand_still()
            """
        )
        keeper = psycopg2.connect(self.url)
        try:
            with keeper.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [GATE])
            yield
        finally:
            keeper.close()
            self.rows("DROP FUNCTION stand_still CASCADE")

    @contextmanager
    def read_only(self, table: str) -> Iterator[None]:
        """Let everybody who writes to a table wait until the end."""
        keeper = psycopg2.connect(self.url)
        try:
            with keeper.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
            yield
        finally:
            keeper.close()

    def until_standing_still(self) -> None:
        """Wait until a transaction is held up."""
        sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = :gate"
        assert wait_until(lambda: self.count(sql, gate=GATE) > 0, PATIENCE_SECONDS)
