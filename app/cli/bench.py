"""`bench`: measure this machine. The benchmarks lie beside the package, in a checkout; images do not have them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A first look, in three minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With 100,000 runs for memory and 1,000,000 of history.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="One figure, such as `runs`; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results.md and its chart.")] = None,
) -> None:
    """Measure rates, latency and memory on this machine; the whole suite writes benchmarks/results.md.

    Starts platforms of its own in temporary folders: nothing of yours is touched. Needs Linux.
    """
    if not (ROOT / "benchmarks").is_dir():
        raise ConfigurationError(
            f"There are no benchmarks in {ROOT}: images come without them, run this in a checkout."
        )
    arguments = [*(["--quick"] if quick else []), *(["--full"] if full else [])]
    for name in only or ():
        arguments += ["--only", name]
    if out is not None:
        arguments += ["--out", str(out)]
    os.chdir(ROOT)
    command = [sys.executable, "-m", "benchmarks.suite", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter
