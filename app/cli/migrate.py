"""`migrate`: bring the database to the newest schema."""

import typer

from app.cli.connections import with_servers
from app.core.config import load_settings
from app.db.migrate import prepare

app = typer.Typer(add_completion=False)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema; does nothing when it is there. `up` does it by itself."""
    with with_servers(load_settings(), "database_url") as settings:
        prepare(settings.database_url or "", settings.owner_url)
    typer.echo("The database is at the newest schema.")
