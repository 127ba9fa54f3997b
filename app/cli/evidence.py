"""`runs evidence`: export what is recorded of a run, and check an export."""

from pathlib import Path
from typing import Annotated

import typer
from sqlmodel import Session

from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.errors import NotFound
from app.core.ids import parse_id
from app.engine.evidence.bundle import faults_of, root_hash
from app.models import Run
from app.services.evidence import bundle_of

app = typer.Typer(
    help="Export what is recorded of a run, and check an export.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def export(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    output: Annotated[
        Path | None, typer.Option(help="Where to write it. Unset: evidence-RUN_ID.json.")
    ] = None,
) -> None:
    """Write everything that is recorded of a run into one JSON file with hashes."""
    known = parse_id(run_id)
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
        Session(engine) as session,
    ):
        run = session.get(Run, known) if known else None
        if run is None:
            raise NotFound(f"There is no run {run_id[:40]}: `runs list` shows the newest.")
        document = bundle_of(session, run, max_bytes=None)
        path = (output or Path(f"evidence-{run.id}.json")).resolve()
    path.write_bytes(document)
    typer.echo(f"{path}\nsha256 {root_hash(document)}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="An exported bundle.")],
    sha256: Annotated[
        str | None,
        typer.Option(help="The hash over all, as it was noted when the bundle was exported."),
    ] = None,
) -> None:
    """Check that a bundle is what was exported, byte by byte; needs no network and no database. Exit code 1: it is not."""
    try:
        document = file.read_bytes()
    except OSError as error:
        raise NotFound(f"Cannot read {file.resolve()}: {error.strerror}.") from None
    faults = list(faults_of(document))
    found = root_hash(document)
    if sha256 is not None and sha256.strip().lower() != found:
        faults.append(f"manifest: the hash over all is {found}, not the one that was noted")
    for fault in faults:
        typer.echo(f"CHANGED {fault}.", err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"OK sha256 {found}")
