"""`user`: make accounts, list them, give roles, close and open them; also while registration is closed."""

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
from app.db.session import transaction
from app.embedded.servers import servers_for
from app.engine.audit.appending import audit_key_of, keep_audit
from app.engine.audit.entry import Actor
from app.schemas.auth import Registration
from app.services import users
from app.services.user_admin import UserAdmin

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
        account = users.NewAccount(form.email, form.password, role)
        user = users.register(engine, account, SystemClock().now(), operator())
    typer.echo(f"{user.email} is {user.role} now.")


@app.command("list")
def list_all() -> None:
    """Show all accounts, oldest first."""
    with _accounts() as accounts:
        for user in accounts.all():
            state = "" if user.active else "  (closed)"
            typer.echo(f"{user.role:<10}{user.created_at:%Y-%m-%d %H:%M}Z  {user.email}{state}")


@app.command("role")
def change_role(
    email: EmailArgument,
    role: Annotated[Role, typer.Argument(help="admin, operator, member or viewer")],
) -> None:
    """Give an account another role."""
    with _accounts() as accounts:
        user = accounts.change(_id_of(accounts, email), role=role)
    typer.echo(f"{user.email} is {user.role} now.")


@app.command()
def close(email: EmailArgument) -> None:
    """Close an account: its tokens, sessions and API keys end at once; its workflows go on."""
    with _accounts() as accounts:
        user = accounts.change(_id_of(accounts, email), active=False)
    typer.echo(f"{user.email} is closed now.")


@app.command("open")
def open_again(email: EmailArgument) -> None:
    """Open a closed account again."""
    with _accounts() as accounts:
        user = accounts.change(_id_of(accounts, email), active=True)
    typer.echo(f"{user.email} is open now.")


def operator() -> Actor:
    """Return whoever is at the command line: the platform itself, with the name that the machine knows them by."""
    return Actor(ActorKind.SYSTEM, address=f"{getpass.getuser()}@{platform.node()}")


def _id_of(accounts: UserAdmin, email: str) -> str:
    return accounts.with_email(email.strip().lower()).id


@contextmanager
def _accounts() -> Iterator[UserAdmin]:
    with _database() as engine, transaction(engine) as session:
        yield UserAdmin(session, operator())


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
