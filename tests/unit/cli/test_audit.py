"""`audit`: what was done, listed, exported and checked."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine, text

from app.core.statuses import ActorKind
from app.db.base import make_engine
from app.engine.audit.appending import append, audit_key, keep_audit
from app.engine.audit.entry import SYSTEM, Actor, Entry
from tests.unit.cli.conftest import Say

KEY = "a secret key that is long enough for a test"
ADA = Actor(ActorKind.USER, email="ada@example.com")


@pytest.fixture(autouse=True)
def engine(cli: Say, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Engine]:
    """A log of two entries in a database that the command line finds."""
    del cli  # it forgets the settings of the environment; these come after it
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("SECRET_KEY", KEY)
    engine = make_engine(sqlite_url)
    keep_audit(engine, audit_key(KEY))
    with engine.begin() as connection:
        append(connection, [Entry(ADA, "workflow.created", "workflow", "7"), Entry(SYSTEM, "plugins.loaded", "plugins", "files")])  # fmt: skip
    yield engine
    engine.dispose()


def test_entries_are_listed_newest_first(cli: Say) -> None:
    everything = cli("audit", "list")
    some = cli("audit", "list", "--action", "workflow.", "--actor", "ada@example.com")

    lines = everything.out.splitlines()
    assert [line.split()[0] for line in lines] == ["SEQ", "2", "1"]
    assert "ada@example.com  workflow.created" in lines[2]
    assert len(some.out.splitlines()) == 2


def test_an_export_is_json_lines(cli: Say, tmp_path: Path) -> None:
    said = cli("audit", "export", "--action", "workflow.")
    file = cli("audit", "export", "--output", "log.jsonl")

    assert [orjson.loads(line)["seq"] for line in said.out.splitlines()] == [1]
    assert file.out == f"{tmp_path / 'log.jsonl'}\n"
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_a_check_tells_by_its_exit_code(cli: Say, engine: Engine) -> None:
    well = cli("audit", "verify")
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_log_no_delete"))
        connection.execute(text("DELETE FROM audit_log WHERE seq = 1"))

    ill = cli("audit", "verify")

    assert (well.code, well.out) == (0, "OK 2 entries, not anchored yet\n")
    assert (ill.code, ill.err) == (1, "BAD entry 1: missing. After entry 0 comes 2.\n")


def test_another_secret_key_does_not_fit(cli: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "x" * 40)

    assert "SECRET_KEY was another" in cli("audit", "verify").err
