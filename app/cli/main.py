"""The table of commands. A new one is a module in this folder with `app = typer.Typer()`, and a line in COMMANDS.

Only the module of the command that was asked for is imported: `up` must be there in no time, and the others bring
the database and the engine with them.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from app.core.errors import AutomateError

DEFAULT_COMMAND = "up"

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("app.cli.up", "Start Postgres, Redis, the API and the workers here, until Ctrl-C."),
    "test": ("app.cli.testing", "Check the code: format, lint, imports, types, tests."),
    "bench": ("app.cli.bench", "Measure rates, latency and memory on this machine."),
    "doctor": ("app.cli.doctor", "Check what a start needs, and say how to mend what is wrong."),
    "status": ("app.cli.status", "Show workers, runs and queue."),
    "runs": ("app.cli.runs", "List runs, show one."),
    "node": ("app.cli.node", "List, show, make and try node types."),
    "user": ("app.cli.user", "Make accounts, list them, change roles."),
    "audit": ("app.cli.audit", "List, export and check the audit log."),
    "migrate": ("app.cli.migrate", "Bring the database to the newest schema."),
}

app = typer.Typer(add_completion=False)


@app.callback()
def automateos() -> None:
    """AutomateOS: durable workflow automation. Without a command it is `up`; README.md lists the settings."""


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; what the platform refuses is said in one sentence, with exit code 1."""
    wanted = list(arguments) or [DEFAULT_COMMAND]
    try:
        command_line(wanted[0])(wanted, prog_name="main.py")
    except AutomateError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    return 0


def command_line(wanted: str) -> TyperGroup:
    """Return the whole command line, in which only the command `wanted` is loaded."""
    group = get_group(app)
    for name, (module, summary) in COMMANDS.items():
        if name == wanted:
            group.add_command(get_command(import_module(module).app), name)
        else:
            group.add_command(TyperCommand(name, help=summary), name)
    return group
