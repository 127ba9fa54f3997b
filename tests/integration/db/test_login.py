"""`migrate` makes the login of API and workers: it works in every table, owns none, and its password is never sent."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from app.core.errors import ConfigurationError
from app.db.base import make_engine
from app.db.migrate import prepare


@pytest.fixture
def login_url(postgres_url: str) -> Iterator[str]:
    """The address of a login that is not there yet."""
    url = make_url(postgres_url)
    name = (url.database or "").replace("test_", "app_")
    yield url.set(username=name, password="hunter2hunter2").render_as_string(hide_password=False)
    owner = make_engine(postgres_url)
    with owner.begin() as connection:
        connection.execute(text(f'DROP ROLE IF EXISTS "{name}"'))
    owner.dispose()


def test_it_works_in_the_tables_and_owns_none(postgres_url: str, login_url: str) -> None:
    prepare(login_url, postgres_url)
    prepare(login_url, postgres_url)  # once more, as each upgrade does

    engine = make_engine(login_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM runs"))
        mine = connection.execute(
            text("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
        )
        assert mine.scalar_one() == 0
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="must be owner"):
        connection.execute(text("DROP TABLE runs"))
    engine.dispose()


def test_the_server_keeps_a_verifier_and_never_sees_the_password(
    postgres_url: str, login_url: str
) -> None:
    prepare(login_url, postgres_url)

    engine = make_engine(postgres_url)
    with engine.connect() as connection:
        stored = connection.execute(
            text(
                "SELECT rolpassword, rolsuper, rolcreaterole FROM pg_authid WHERE rolname = :name"
            ),
            {"name": make_url(login_url).username},
        ).one()
    engine.dispose()
    assert stored.rolpassword.startswith("SCRAM-SHA-256$")
    assert (stored.rolsuper, stored.rolcreaterole) == (False, False)


def test_the_owner_itself_needs_no_login(postgres_url: str) -> None:
    prepare(postgres_url, postgres_url)
    prepare(postgres_url, None)

    engine = make_engine(postgres_url)
    with engine.connect() as connection:
        mine = connection.execute(text("SELECT count(*) FROM pg_tables WHERE tableowner = current_user AND schemaname = 'public'"))  # fmt: skip
        assert mine.scalar_one() > 20
    engine.dispose()


def test_an_address_without_a_password_is_named(postgres_url: str) -> None:
    nobody = make_url(postgres_url).set(username="nobody").render_as_string(hide_password=False)

    with pytest.raises(ConfigurationError, match="DATABASE_URL must name a user and a password"):
        prepare(nobody, postgres_url)
