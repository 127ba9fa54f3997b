"""`user`: make accounts, list them, change roles; also while registration is closed."""

import getpass
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.core.clock import SystemClock
from app.core.config import load_settings
from app.core.errors import ConfigurationError, InvalidInput
from app.core.statuses import ActorKind, Role
from app.db.base import make_engine
from app.db.migrate import unreachable, upgrade
from app.embedded.servers import servers_for
from app.engine.audit.appending import audit_key_of, keep_audit
from app.engine.audit.entry import Actor
from app.schemas.auth import Registration
from app.services import users

app = typer.Typer(help="Accounts.", no_args_is_help=True, add_completion=False)
EmailArgument = Annotated[str, typer.Argument(help="The address to log in with.")]


@app.command()
def create(
    email: EmailArgument,
    role: Annotated[Role | None, typer.Option(help="Unset: admin for the first one.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Make an account; the password is asked for."""
    form = _checked(email, _read_password(from_stdin=password_stdin))
    with _database() as engine:
        now = SystemClock().now()
        user = users.register(engine, form.email, form.password, now, role, operator())
    typer.echo(f"{user.email} is {user.role} now.")


@app.command("list")
def list_all() -> None:
    """Show all accounts, oldest first."""
    with _database() as engine:
        for user in users.list_users(engine):
            typer.echo(f"{user.role:<8}{user.created_at:%Y-%m-%d %H:%M}Z  {user.email}")


@app.command("role")
def change_role(
    email: EmailArgument, role: Annotated[Role, typer.Argument(help="admin or member")]
) -> None:
    """Give an account another role."""
    with _database() as engine:
        user = users.set_role(engine, email.strip().lower(), role, operator())
    typer.echo(f"{user.email} is {user.role} now.")


def operator() -> Actor:
    """Return whoever is at the command line: the platform itself, with the name that the machine knows them by."""
    return Actor(ActorKind.SYSTEM, address=f"{getpass.getuser()}@{platform.node()}")


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


def _checked(email: str, password: str) -> Registration:
    try:
        return Registration(email=email, password=password)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        name = str(fault["loc"][0]).capitalize()
        raise InvalidInput(f"{name}: {fault['msg'].removeprefix('Value error, ')}") from None


@contextmanager
def _database() -> Iterator[Engine]:
    """Yield the database of the settings, or the embedded one, with its schema up to date."""
    with ExitStack() as servers:
        settings = load_settings()
        if settings.database_url is None:
            settings = servers.enter_context(servers_for(settings))
        url = str(settings.database_url)
        upgrade(url)
        engine = make_engine(url)
        keep_audit(engine, audit_key_of(settings))
        try:
            yield engine
        except OperationalError as error:
            raise ConfigurationError(unreachable(error)) from None
        finally:
            engine.dispose()
