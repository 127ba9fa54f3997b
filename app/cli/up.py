"""`up`: everything on this machine, until Ctrl-C."""

from contextlib import suppress

import typer

from app.core.config import load_settings
from app.embedded.platform import run_platform
from app.embedded.programs import own_programs
from app.engine.egress.policy import build_policy

app = typer.Typer(add_completion=False)


@app.command()
def up() -> None:
    """Start Postgres, Redis, the API and the workers here, until Ctrl-C.

    A second Ctrl-C hastens. What dies is started again. Settings: .env.example.
    """
    settings = load_settings()
    build_policy(settings.egress_allow)  # refuses what the workers would stumble over
    run_platform(settings, own_programs(settings), _say)


def _say(text: str) -> None:
    """Print a line; a terminal that went away must not end the platform."""
    with suppress(OSError):
        typer.echo(text)
