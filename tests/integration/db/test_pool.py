"""Connections that died while nobody used them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from app.db import base
from app.db.base import make_engine


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url, pool_size=1)
    yield engine
    engine.dispose()


def backend(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def kill_idle(engine: Engine, postgres_url: str) -> None:
    """End the connection that waits in the pool, as a restart of the database does."""
    other = make_engine(postgres_url)
    with other.begin() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend(engine)}
        )
    other.dispose()


def test_one_that_died_while_idle_is_replaced_unnoticed(
    engine: Engine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_idle(engine, postgres_url)
    monkeypatch.setattr(base, "PING_AFTER_SECONDS", 0.0)

    assert backend(engine) > 0


def test_one_that_was_used_just_now_is_not_asked_and_fails_once(
    engine: Engine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "PING_AFTER_SECONDS", 60.0)
    kill_idle(engine, postgres_url)

    with pytest.raises(OperationalError):
        backend(engine)
    assert backend(engine) > 0
