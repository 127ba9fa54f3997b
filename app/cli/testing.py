"""`test`: every check, cheapest first, in the environment that the bootstrap filled with the development tools."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

CHECK = Path(__file__).resolve().parents[2] / "scripts" / "check"

app = typer.Typer(add_completion=False)


@app.command()
def run_checks(
    pytest_arguments: Annotated[
        list[str] | None, typer.Argument(help="After `--`: handed to pytest.")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="The long forms too.")] = False,
) -> None:
    """Check the code: format, lint, imports, types, tests; stops at the first failure."""
    tools = Path(sys.executable).parent
    environment = dict(os.environ)  # noqa: TID251 - handed on to the checks
    environment["PATH"] = f"{tools}{os.pathsep}{environment.get('PATH', os.defpath)}"
    arguments = [*(["--long"] if long else []), *(pytest_arguments or [])]
    os.execve(CHECK, [str(CHECK), *arguments], environment)  # noqa: S606 - our own script
