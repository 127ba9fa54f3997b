"""`runs`: what happened, for operators: every owner's runs, straight from the database."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import orjson
import typer
from sqlmodel import Session, col, select

from app.cli import evidence
from app.cli.columns import first_line, in_columns, moment, seconds_between
from app.cli.connections import open_database, with_servers
from app.core.config import load_settings
from app.core.errors import NotFound
from app.core.ids import parse_id
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.models import Run, RunLog, StepAttempt, Workflow
from app.services.owners import owner_of
from app.services.runs import summarise

SHOWN_CHARACTERS = 500

app = typer.Typer(help="What happened in runs.", no_args_is_help=True, add_completion=False)
app.add_typer(evidence.app, name="evidence")


@app.command("list")
def list_runs(
    status: Annotated[RunStatus | None, typer.Option(help="Only runs that stand here.")] = None,
    workflow: Annotated[
        str | None, typer.Option(help="Only runs of the workflow with this id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most runs to show.")] = 20,
) -> None:
    """List the runs of all owners, newest first."""
    query = select(Run, Workflow.name).join(Workflow, col(Workflow.id) == col(Run.workflow_id))
    if status is not None:
        query = query.where(col(Run.status) == status)
    if workflow is not None:
        query = query.where(col(Run.workflow_id) == _known(workflow, "workflow"))
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
        Session(engine) as session,
    ):
        found = session.exec(query.order_by(col(Run.id).desc()).limit(limit)).all()
    rows = [
        (run.id, run.status, run.trigger_kind, moment(run.created_at), _seconds(run), name)
        for run, name in found
    ]
    _print(in_columns(("RUN", "STATUS", "TRIGGER", "ACCEPTED", "SECONDS", "WORKFLOW"), *rows))


@app.command()
def show(run_id: Annotated[str, typer.Argument(help="The run's id.")]) -> None:
    """Show a run: where it stands, what became of each step, and what the steps logged."""
    with (
        with_servers(load_settings(), "database_url") as settings,
        open_database(settings) as engine,
        Session(engine) as session,
    ):
        run = session.get(Run, _known(run_id, "run"))
        if run is None:
            raise NotFound(f"There is no run {run_id}: `runs list` shows the newest.")
        _print(in_columns(*_head(run, session)))
        _print(_steps(run, session))
        _print(_log(run, session))


def _head(run: Run, session: Session) -> Iterator[tuple[str, str]]:
    workflow, owner = session.get(Workflow, run.workflow_id), owner_of(session, run.owner_id)
    yield "run", run.id
    yield "status", run.status
    yield (
        "workflow",
        f"{workflow.name if workflow else ''} ({run.workflow_id}), version {run.version}",
    )
    yield "owner", owner.name
    yield "trigger", run.trigger_kind
    yield "accepted", moment(run.created_at)
    if run.finished_at is not None:
        yield "finished", f"{moment(run.finished_at)}, {_seconds(run)} s after it was accepted"
    for name in ("waiting_for", "error", "input", "output"):
        value = getattr(run, name)
        if value is not None:
            yield name, _json(value)


def _steps(run: Run, session: Session) -> Iterator[str]:
    attempts = session.exec(select(StepAttempt).where(StepAttempt.run_id == run.id)).all()
    steps = summarise(attempts, over=run.status in FINAL_RUN_STATUSES)
    rows = [
        (step.path, step.type, step.status, step.attempts, seconds_between(step.started_at, step.finished_at),
         _json(step.error or step.output))
        for step in steps
    ]  # fmt: skip
    if rows:
        yield ""
        yield from in_columns(("STEP", "TYPE", "STATUS", "ATTEMPTS", "SECONDS", "RESULT"), *rows)


def _log(run: Run, session: Session) -> Iterator[str]:
    lines: Sequence[RunLog] = session.exec(
        select(RunLog).where(RunLog.run_id == run.id).order_by(col(RunLog.at), col(RunLog.line))
    ).all()
    if lines:
        yield ""
        yield from in_columns(
            ("LOGGED", "STEP", "LEVEL", "MESSAGE"),
            *((moment(row.at), row.path, row.level, first_line(row.message)) for row in lines),
        )


def _known(text: str, what: str) -> str:
    found = parse_id(text)
    if found is None:
        raise NotFound(f"{text[:40]!r} is no {what} id: write all 36 characters of it.")
    return found


def _seconds(run: Run) -> str:
    return seconds_between(run.created_at, run.finished_at)


def _json(value: Any) -> str:
    return first_line(orjson.dumps(value).decode(), SHOWN_CHARACTERS)


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line)
