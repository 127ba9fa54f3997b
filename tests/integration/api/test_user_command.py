"""The `user` commands."""

import getpass
import platform
from collections.abc import Callable

import pytest
from sqlmodel import Session, select
from typer.testing import CliRunner, Result

from app.cli.user import app
from app.core.errors import AutomateError, ConfigurationError, Conflict, InvalidInput, NotFound
from app.core.statuses import ActorKind
from app.db.base import make_engine
from app.models import AuditEntry
from tests.integration.api.conftest import KEY

User = Callable[..., Result]


@pytest.fixture
def user(database_url: str, monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SECRET_KEY", KEY)

    def run(*arguments: str, password: str = "") -> Result:
        return CliRunner().invoke(app, arguments, input=password)

    return run


def _refusal(result: Result) -> type[AutomateError]:
    assert isinstance(result.exception, AutomateError)
    return type(result.exception)


def test_accounts_are_made_listed_and_given_roles(user: User) -> None:
    first = user("create", "Ada@example.com", "--password-stdin", password="correct horse\n")
    asked = user("create", "bob@example.com", password="correct horse\ncorrect horse\n")
    changed = user("role", "BOB@example.com", "admin")
    listed = user("list")

    assert first.stdout == "ada@example.com is admin now.\n"
    assert "bob@example.com is member now." in asked.stdout
    assert "correct horse" not in asked.stdout
    assert changed.stdout == "bob@example.com is admin now.\n"
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == [
        "ada@example.com",
        "bob@example.com",
    ]


def test_a_role_can_be_given_at_once(user: User) -> None:
    arguments = ("create", "a@example.com", "--role", "member", "--password-stdin")

    result = user(*arguments, password="correct horse\n")

    assert result.stdout == "a@example.com is member now.\n"


def test_what_does_not_fit_is_refused(user: User) -> None:
    user("create", "a@example.com", "--password-stdin", password="correct horse\n")

    again = user("create", "a@example.com", "--password-stdin", password="correct horse\n")
    short = user("create", "b@example.com", "--password-stdin", password="short\n")
    nobody = user("role", "c@example.com", "admin")

    assert [_refusal(result) for result in (again, short, nobody)] == [
        Conflict,
        InvalidInput,
        NotFound,
    ]


def test_the_last_administrator_stays_one(user: User) -> None:
    for email in ("a@example.com", "b@example.com"):
        user("create", email, "--password-stdin", password="correct horse\n")

    refused = [user("role", "a@example.com", "member"), user("close", "a@example.com")]
    user("role", "b@example.com", "admin")
    now = user("role", "a@example.com", "member")

    assert [_refusal(result) for result in refused] == [Conflict, Conflict]
    assert now.stdout == "a@example.com is member now.\n"


def test_a_database_that_is_away_is_named(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/nothing")

    assert _refusal(user("list")) is ConfigurationError


def test_who_gave_a_role_at_the_command_line_is_put_on_record(
    user: User, database_url: str
) -> None:
    user("create", "a@example.com", "--password-stdin", password="correct horse\n")
    user("create", "b@example.com", "--password-stdin", password="correct horse\n")
    user("role", "b@example.com", "viewer")

    engine = make_engine(database_url)
    with Session(engine) as session:
        made, _, changed = session.exec(select(AuditEntry).order_by("seq")).all()
    engine.dispose()

    assert (made.action, changed.action) == ("user.registered", "user.role_changed")
    assert changed.details == {"email": "b@example.com", "from": "member", "to": "viewer"}
    assert changed.actor_kind is ActorKind.SYSTEM
    assert changed.actor_address == f"{getpass.getuser()}@{platform.node()}"
