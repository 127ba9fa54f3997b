"""What tests get for a new database: nothing of the test before is in it."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from tests.conftest import Servers
from tests.databases import Databases

Ask = Callable[[str, str], list[tuple[object, ...]]]
USER = """
INSERT INTO users (id, email, password_hash, role, token_version, created_at)
VALUES (gen_random_uuid(), 'ada@example.com', '', 'admin', 0, now())
"""


@pytest.fixture
def databases(servers: Servers) -> Iterator[Databases]:
    with closing(Databases(servers.postgres, resting=0)) as databases:
        yield databases


@pytest.fixture
def ask() -> Ask:
    def ask(url: str, sql: str) -> list[tuple[object, ...]]:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()
            return cursor.fetchall() if cursor.description else []

    return ask


def test_a_database_is_lent_again_as_it_was_under_another_name(
    databases: Databases, ask: Ask
) -> None:
    everything = "SELECT (SELECT count(*) FROM users), (SELECT string_agg(p::text, ' ') FROM policies p)"  # fmt: skip
    with databases.lend() as first:
        oid = ask(first, "SELECT oid FROM pg_database WHERE datname = current_database()")
        before = ask(first, everything)
        ask(first, USER)
        ask(first, "UPDATE policies SET revision = 7")

    with databases.lend() as second:
        assert ask(second, everything) == before
        assert ask(second, "SELECT oid FROM pg_database WHERE datname = current_database()") == oid
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            psycopg2.connect(first)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE kept AS SELECT 42 AS answer",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "REVOKE SELECT (email) ON users FROM automateos_tenant",
        "ANALYZE policies",
    ],
)
def test_a_database_whose_schema_was_changed_is_not_lent_again(
    databases: Databases, ask: Ask, change: str
) -> None:
    with databases.lend() as first:
        oid = ask(first, "SELECT oid FROM pg_database WHERE datname = current_database()")
        ask(first, change)

    with databases.lend() as second:
        assert ask(second, "SELECT oid FROM pg_database WHERE datname = current_database()") != oid


def test_whoever_has_outlived_a_test_is_cut_off(databases: Databases, ask: Ask) -> None:
    with databases.lend() as first:
        left = psycopg2.connect(first)

    with closing(left), pytest.raises(psycopg2.OperationalError), left.cursor() as cursor:
        cursor.execute(USER)
    with databases.lend() as second:
        assert ask(second, "SELECT count(*) FROM users") == [(0,)]
