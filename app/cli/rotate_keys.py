"""`rotate-keys`: encrypt anew under the newest key of ENCRYPTION_KEYS what lies under older ones."""

from typing import Annotated

import typer
from sqlalchemy import Engine

from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.logging import configure_logging
from app.core.security.encryption import KeyRing, key_ring
from app.services.key_rotation import ENCRYPTED, keys_in_use, rotate

app = typer.Typer(add_completion=False)


@app.command()
def rotate_keys(
    check: Annotated[bool, typer.Option("--check", help="Only say which keys are in use.")] = False,
) -> None:
    """Encrypt credentials anew under the newest key; exit code 1 when something could not be opened."""
    configure_logging("error")
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
    ):
        keys = key_ring(settings)
        if check:
            _tell(engine, keys)
        elif not _rotate_all(engine, keys):
            raise typer.Exit(1)


def _tell(engine: Engine, keys: KeyRing) -> None:
    typer.echo(f"New data is encrypted under {keys.current}.")
    for table in ENCRYPTED:
        for key_id, count in keys_in_use(engine, table).items():
            typer.echo(f"{table.name}: {count} under {key_id}")


def _rotate_all(engine: Engine, keys: KeyRing) -> bool:
    unreadable = 0
    for table in ENCRYPTED:
        rotated = rotate(engine, keys, table)
        unreadable += rotated.unreadable
        typer.echo(f"{table.name}: {rotated.done} encrypted anew under {keys.current}")
    if unreadable:
        typer.echo(f"{unreadable} could not be opened: bring their keys back, or save them again.")
    return not unreadable
