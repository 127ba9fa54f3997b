"""`switch`: stop things at once, also while the API is away; and let them go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import ValidationError

from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.errors import InvalidInput
from app.core.ids import parse_id
from app.core.statuses import SwitchMode, SwitchScope
from app.db.session import transaction
from app.engine.registry import load_catalogue
from app.engine.store import database_now
from app.schemas.kill_switch import KillSwitchDraft, KillSwitchForm
from app.services.kill_switches import KillSwitches
from app.services.pages import MAX_LIMIT

app = typer.Typer(help="Kill switches.", no_args_is_help=True, add_completion=False)
Mode = Annotated[SwitchMode, typer.Option(help="drain: what has begun goes on to its end.")]
Reason = Annotated[str, typer.Option(help="Whoever is stopped by it reads this.")]
Minutes = Annotated[
    int | None, typer.Option(min=1, help="Lifted by itself after so long; unset: never.")
]


@app.command("list")
def list_switches(
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
) -> None:
    """Show what is stopped, newest first."""
    with _switches() as switches:
        found, _ = switches.list(active=not every, limit=MAX_LIMIT, cursor=None)
    for switch in found:
        typer.echo(_line(switch))
    if not found:
        typer.echo("Nothing is stopped.")


@app.command("set")
def set_switch(
    scope: SwitchScope,
    target: Annotated[
        str | None, typer.Argument(help="What to stop, by id or name; leave out for all.")
    ] = None,
    reason: Reason = "an operator has stopped it",
    mode: Mode = SwitchMode.HALT,
    minutes: Minutes = None,
) -> None:
    """Stop everything, or what belongs to a team, user or workflow, or steps of a node type or with a credential."""
    with _switches() as switches:
        now = database_now(switches.session.connection())
        expires_at = None if minutes is None else now + timedelta(minutes=minutes)
        switch = switches.set(_draft(scope, target, mode, reason, expires_at))
    typer.echo(_line(switch))


@app.command("lift")
def lift_switch(
    which: Annotated[str, typer.Argument(help="A switch's id, or `all` for the global ones.")],
) -> None:
    """Let go on what a switch has stopped."""
    with _switches() as switches:
        if which == SwitchScope.ALL:
            switches.lift_all()
        else:
            switches.lift(parse_id(which) or which)
    typer.echo("It is lifted: what was stopped goes on.")


def _draft(
    scope: SwitchScope, target: str | None, mode: SwitchMode, reason: str, expires_at: object
) -> KillSwitchDraft:
    given = {"scope": scope, "target": target, "mode": mode, "reason": reason}
    try:
        return KillSwitchDraft.model_validate({**given, "expires_at": expires_at})
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise InvalidInput(f"{fault['loc'][0]}: {fault['msg']}") from None


def _line(switch: KillSwitchForm) -> str:
    what = switch.scope if switch.target is None else f"{switch.scope} {switch.target}"
    state = switch.mode if switch.active else "lifted"
    until = f" until {switch.expires_at:%Y-%m-%d %H:%M}Z" if switch.expires_at else ""
    since = f"{switch.created_at:%Y-%m-%d %H:%M}Z by {switch.created_by}"
    return f"{switch.id}  {state:<6}  {what}{until}  since {since}: {switch.reason}"


@contextmanager
def _switches() -> Iterator[KillSwitches]:
    """Yield the switches of the platform's database; what is done to them is committed at the end."""
    settings = load_settings()
    with (
        with_servers(settings, "database_url") as resolved,
        open_database(resolved) as engine,
        transaction(engine) as session,
    ):
        yield KillSwitches(session, None, load_catalogue(settings.plugins_dir))
