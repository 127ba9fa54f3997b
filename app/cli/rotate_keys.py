"""`rotate-keys`: encrypt anew under the newest key of ENCRYPTION_KEYS what lies under older ones."""

from typing import Annotated

import typer
from sqlalchemy import Engine

from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.errors import Conflict
from app.core.security.encryption import CannotDecrypt, KeyRing, key_ring
from app.services.key_rotation import ENCRYPTED, Encrypted, keys_in_use, rotate

app = typer.Typer(add_completion=False)


@app.command()
def rotate_keys(
    check: Annotated[bool, typer.Option("--check", help="Only say which keys are in use.")] = False,
) -> None:
    """Encrypt what is stored anew under the newest key; exit code 1 when something could not be opened."""
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
    ):
        keys = key_ring(settings)
        lost = [_tell(engine, keys, it) if check else _rotate(engine, keys, it) for it in ENCRYPTED]
    if any(lost):
        typer.echo("What lies under keys that are not there cannot be opened: bring them back.")
        raise typer.Exit(1)


def _rotate(engine: Engine, keys: KeyRing, stored: Encrypted) -> bool:
    try:
        done = rotate(engine, keys, stored)
    except CannotDecrypt as error:
        raise Conflict(f"One of the {stored.name} cannot be opened: {error}") from None
    typer.echo(f"{stored.name}: {done} encrypted anew under {keys.current}")
    return _tell(engine, keys, stored)


def _tell(engine: Engine, keys: KeyRing, stored: Encrypted) -> bool:
    """Say what lies under which key; tell whether there is one that is lost."""
    found = keys_in_use(engine, stored)
    for key_id, count in found.items():
        typer.echo(f"{stored.name}: {count} under {key_id}{_remark(key_id, keys)}")
    return not found.keys() <= keys.ids


def _remark(key_id: str, keys: KeyRing) -> str:
    if key_id == keys.current:
        return ", the newest"
    return "" if key_id in keys.ids else ", WHICH IS NOT THERE"
