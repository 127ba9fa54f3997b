"""`runs evidence`: what is exported can be checked, without servers."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from sqlmodel import Session

from app.core.ids import new_id
from app.core.statuses import Role, RunStatus, TriggerKind, WebhookAuth
from app.db.base import make_engine
from app.engine.evidence.bundle import root_hash
from app.engine.evidence.canonical import sha256_of
from app.models import Run, User, Workflow, WorkflowVersion
from tests.unit.cli.conftest import Say

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
DEFINITION = {"steps": [{"type": "log", "config": {"message": "Hi"}}]}


@pytest.fixture
def run_id(cli: Say, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[str]:
    """A run in a database that the command line finds."""
    del cli  # it forgets the settings of the environment; this one comes after it
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    owner_id, workflow_id, version_id, run_id = (new_id() for _ in range(4))
    engine = make_engine(sqlite_url)
    with Session(engine) as session:
        session.add(User(id=owner_id, email="ada@example.com", password_hash="", role=Role.MEMBER, created_at=NOW))  # fmt: skip
        session.flush()
        session.add(Workflow(id=workflow_id, owner_id=owner_id, name="Bridge", webhook_auth=WebhookAuth.OPEN, created_at=NOW, updated_at=NOW))  # fmt: skip
        session.flush()
        session.add(WorkflowVersion(id=version_id, workflow_id=workflow_id, version=1, definition=DEFINITION, checksum=sha256_of(DEFINITION), created_by=owner_id, created_at=NOW))  # fmt: skip
        session.add(Run(id=run_id, owner_id=owner_id, workflow_id=workflow_id, version_id=version_id, version=1, trigger_kind=TriggerKind.MANUAL, status=RunStatus.SUCCEEDED, created_at=NOW))  # fmt: skip
        session.commit()
    yield run_id
    engine.dispose()


@pytest.fixture
def file(cli: Say, run_id: str, tmp_path: Path) -> Path:
    """An exported bundle."""
    said = cli("runs", "evidence", "export", run_id, "--output", "bundle.json")
    assert said.code == 0, said.err
    return tmp_path / "bundle.json"


def test_an_export_is_checked_without_a_database(
    cli: Say, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    noted = root_hash(file.read_bytes()) or ""

    plain = cli("runs", "evidence", "verify", str(file))
    against = cli("runs", "evidence", "verify", "bundle.json", "--sha256", noted.upper())

    assert (plain.code, plain.out) == (0, f"OK sha256 {noted}\n")
    assert against.code == 0


def test_a_change_is_named_and_told_by_the_exit_code(cli: Say, file: Path) -> None:
    document = file.read_bytes().replace(b'"succeeded"', b'"cancelled"')
    file.write_bytes(document)

    said = cli("runs", "evidence", "verify", str(file))

    assert said.code == 1
    assert said.err == "CHANGED run: does not match its SHA-256 in the manifest.\n"
    assert said.out == ""


def test_a_bundle_that_was_made_anew_is_not_the_one_that_was_noted(cli: Say, file: Path) -> None:
    said = cli("runs", "evidence", "verify", str(file), "--sha256", "0" * 64)

    assert said.code == 1
    assert "not the one that was noted" in said.err


def test_the_name_of_an_export_is_that_of_its_run(cli: Say, run_id: str, tmp_path: Path) -> None:
    cli("runs", "evidence", "export", run_id)

    bundle = orjson.loads((tmp_path / f"evidence-{run_id}.json").read_bytes())
    assert (bundle["run"]["owner"], bundle["run"]["workflow"]) == ("ada@example.com", "Bridge")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("export", "7"), "There is no run 7"),
        (("verify", "nowhere.json"), "nowhere.json: No such file"),
        (("verify", "."), "Is a directory"),
    ],
)
@pytest.mark.usefixtures("run_id")
def test_what_is_not_there_is_named(cli: Say, arguments: tuple[str, ...], reason: str) -> None:
    said = cli("runs", "evidence", *arguments)

    assert said.code == 1
    assert reason in said.err
