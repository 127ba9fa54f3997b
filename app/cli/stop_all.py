"""`stop-all`: the global kill switch."""

import typer

from app.cli.switch import Minutes, Mode, Reason, set_switch
from app.core.statuses import SwitchMode, SwitchScope

app = typer.Typer(add_completion=False)


@app.command()
def stop_all(
    reason: Reason = "an operator has stopped the platform",
    mode: Mode = SwitchMode.HALT,
    minutes: Minutes = None,
) -> None:
    """Stop the whole platform: nothing new starts, and nothing that has begun takes its next step."""
    set_switch(SwitchScope.ALL, None, reason, mode, minutes)
    typer.echo("Let it go on with `python3 main.py switch lift all`.")
