"""`audit`: list, export and check what was done, straight from the database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlalchemy import Engine
from sqlmodel import Session, col

from app.cli.columns import first_line, in_columns, moment
from app.cli.connections import open_database, with_servers
from app.core.config import Settings, load_settings
from app.engine.audit.anchors import anchor_file
from app.engine.audit.appending import audit_key_of, keep_audit
from app.engine.audit.verifying import verify as verify_log
from app.models import AuditEntry
from app.services.audit_log import AuditFilter, entries, exported

SHOWN_CHARACTERS = 200
app = typer.Typer(help="What was done, by whom.", no_args_is_help=True, add_completion=False)
Actor = Annotated[str | None, typer.Option(help="Only of this account: its id or e-mail address.")]
Action = Annotated[str | None, typer.Option(help="Only actions that begin so: `workflow.`")]


@app.command("list")
def list_entries(
    actor: Actor = None,
    action: Action = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most entries to show.")] = 20,
) -> None:
    """List entries, newest first."""
    query = entries(AuditFilter(actor=actor, action=action)).order_by(col(AuditEntry.seq).desc())
    with _log() as log, Session(log.engine) as session:
        rows = [_cells(row) for row in session.exec(query.limit(limit)).all()]
    for line in in_columns(("SEQ", "AT", "WHO", "ACTION", "TARGET", "DETAILS"), *rows):
        typer.echo(line)


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option(help="Where to write it. Unset: standard output.")
    ] = None,
    actor: Actor = None,
    action: Action = None,
) -> None:
    """Write entries in order, oldest first, as one JSON object a line."""
    path = output.resolve() if output else None
    with _log() as log:
        lots = exported(log.engine, AuditFilter(actor=actor, action=action))
        if path is None:
            for lot in lots:
                sys.stdout.write(lot.decode())
            return
        with path.open("wb") as file:
            file.writelines(lots)
    typer.echo(str(path))


@app.command()
def verify() -> None:
    """Check every entry against the one before it and against the anchors. Exit code 1: one does not hold."""
    with _log() as log:
        found = verify_log(log.engine, anchor_file(log.settings))
    if found.fault is not None:
        fault = found.fault
        typer.echo(f"BAD entry {fault.seq}: {fault.reason}. {fault.detail}", err=True)
        raise typer.Exit(1)
    anchored = f"anchored up to {found.anchored_seq}" if found.anchored_seq else "not anchored yet"
    typer.echo(f"OK {found.entries} entries, {anchored}")


@dataclass(frozen=True, slots=True)
class _Log:
    engine: Engine
    settings: Settings


@contextmanager
def _log() -> Iterator[_Log]:
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
    ):
        keep_audit(engine, audit_key_of(settings))
        yield _Log(engine, settings)


def _cells(row: AuditEntry) -> tuple[object, ...]:
    who = row.actor_email or row.actor_address or row.actor_kind
    target = f"{row.target_kind} {row.target_id}"
    details = first_line(orjson.dumps(row.details).decode(), SHOWN_CHARACTERS)
    return row.seq, moment(row.at), who, row.action, target, details
