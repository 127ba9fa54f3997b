"""`migrate`, `doctor`, `status` and `runs`, on real servers."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from app.core.ids import new_id
from app.core.statuses import AttemptStatus, Role, RunStatus, TriggerKind, WebhookAuth
from app.db.base import make_engine
from app.models import Run, RunLog, StepAttempt, User, Worker, Workflow
from tests.unit.cli.conftest import Say

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def _settings(
    cli: Say, monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str, port: int
) -> None:
    del cli  # it forgets the settings of the environment; these come after it
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PORT", str(port))


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = make_engine(database_url)
    with Session(engine, expire_on_commit=False) as session:
        yield session
    engine.dispose()


def _run(session: Session, status: RunStatus) -> Run:
    """Store a run with its workflow and owner."""
    owner = User(
        id=new_id(),
        email=f"{new_id()}@example.com",
        password_hash="",
        role=Role.MEMBER,
        created_at=NOW,
    )
    workflow = Workflow(
        id=new_id(),
        owner_id=owner.id,
        name="Bridge",
        webhook_auth=WebhookAuth.OPEN,
        created_at=NOW,
        updated_at=NOW,
    )
    run = Run(
        id=new_id(), owner_id=owner.id, workflow_id=workflow.id, version_id=new_id(), version=1, status=status,
        trigger_kind=TriggerKind.WEBHOOK, created_at=NOW,
    )  # fmt: skip
    for row in (owner, workflow, run):
        session.add(row)
        session.flush()
    return run


pytestmark = pytest.mark.usefixtures("_settings")


def test_doctor_finds_nothing_wrong(cli: Say) -> None:
    said = cli("doctor")

    assert said.code == 0
    assert {line.split()[0] for line in said.out.splitlines()} == {"ok"}
    assert "at the newest schema" in said.out


def test_doctor_names_what_is_wrong_and_goes_on(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.setenv("PLUGINS_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    with socket.create_server(("127.0.0.1", port)):
        said = cli("doctor")

    problems = [line for line in said.out.splitlines() if line.startswith("problem")]
    assert said.code == 1
    assert [line.split()[1] for line in problems] == ["redis", "port", "node"]
    assert "ZeroDivisionError" in problems[2]


def test_doctor_says_when_the_settings_do_not_hold(
    cli: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EGRESS_ALLOW", "not a host/99")

    said = cli("doctor")

    assert said.code == 1
    assert "problem  settings" in said.out


def test_doctor_starts_nothing_before_the_first_start(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "")

    said = cli("doctor")

    assert said.code == 0
    assert "made at the first start" in said.out
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_used_is_named(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))

    said = cli("doctor")

    assert said.code == 1
    assert "problem  data folder" in said.out


def test_a_data_folder_is_not_asked_for_where_nothing_lies_in_it(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    monkeypatch.setenv("SECRET_KEY", "a secret key that is long enough for a test")

    said = cli("doctor")

    assert said.code == 0
    assert "only `up` needs it" in said.out


def test_migrate_brings_a_database_to_the_newest_schema(
    cli: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'fresh.db'}")

    before = cli("runs", "list")
    migrated = cli("migrate")
    after = cli("runs", "list")

    assert before.code == 1
    assert "run `python3 main.py migrate`" in before.err
    assert (migrated.code, migrated.out) == (0, "The database is at the newest schema.\n")
    assert after.code == 0


def test_a_database_that_is_away_is_named(cli: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/nothing")

    answers = [cli("runs", "list"), cli("migrate"), cli("status")]

    assert {said.code for said in answers} == {1}
    assert all("DATABASE_URL does not answer" in said.err for said in answers)


def test_status_counts_workers_runs_and_hints(cli: Say, session: Session) -> None:
    for status in (RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.SUCCEEDED):
        _run(session, status)
    for host, life in (("alive", timedelta(days=36500)), ("dead", timedelta(seconds=-1))):
        session.add(
            Worker(id=new_id(), host=host, pid=7, started_at=NOW, lease_expires_at=NOW + life)
        )
    session.commit()

    said = cli("status")

    facts = dict(line.split("  ", 1) for line in said.out.splitlines() if line[0] != " ")
    assert said.code == 0
    assert {name: facts[name].strip() for name in ("workers alive", "runs queued", "runs succeeded")} == {
        "workers alive": "1", "runs queued": "2", "runs succeeded": "1",
    }  # fmt: skip
    assert "alive" in said.out
    assert "dead" not in said.out
    assert facts["oldest queued run"].strip().endswith(" s")
    assert facts["hints on the queue"].strip() == "0"


def test_status_says_when_redis_is_away(cli: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    said = cli("status")

    assert said.code == 0
    assert "Redis does not answer" in said.out


def test_runs_are_listed_newest_first_and_by_status(cli: Say, session: Session) -> None:
    first, second = _run(session, RunStatus.FAILED), _run(session, RunStatus.SUCCEEDED)
    session.commit()

    everything = cli("runs", "list").out.splitlines()
    failed = cli("runs", "list", "--status", "failed").out.splitlines()
    of_workflow = cli("runs", "list", "--workflow", second.workflow_id, "--limit", "5")

    assert [line.split()[0] for line in everything] == ["RUN", second.id, first.id]
    assert [line.split()[:2] for line in failed[1:]] == [[first.id, "failed"]]
    assert [line.split()[0] for line in of_workflow.out.splitlines()[1:]] == [second.id]


def test_a_run_is_shown_with_its_steps_and_log(cli: Say, session: Session) -> None:
    run = _run(session, RunStatus.FAILED)
    run.error = {"code": "chat_refused", "message": "The chat answered 403."}
    run.finished_at = NOW + timedelta(seconds=2)
    session.add(
        StepAttempt(
            run_id=run.id, path="send", attempt=1, seq=0, type="http_request_node", status=AttemptStatus.FAILED,
            error=run.error, started_at=NOW, finished_at=NOW + timedelta(seconds=1),
        )
    )  # fmt: skip
    session.add(
        RunLog(run_id=run.id, path="send", attempt=1, line=0, level="info", message="sent", at=NOW)
    )
    session.commit()

    said = cli("runs", "show", run.id)

    assert said.code == 0
    for part in ("finished  2026-11-20 12:00:02Z, 2.000 s", "workflow  Bridge", "chat_refused",
                 "send  http_request_node  failed  1         1.000", "send  info   sent"):  # fmt: skip
        assert part in said.out


@pytest.mark.parametrize("wrong", ["nonsense", "0190b0c8-0000-7000-8000-000000000001"])
def test_a_run_that_is_not_there_is_refused(cli: Say, wrong: str) -> None:
    said = cli("runs", "show", wrong)

    assert said.code == 1
    assert wrong in said.err
