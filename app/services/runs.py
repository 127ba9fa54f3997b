"""Runs as their owner sees them: the history, one run with its steps, attempts and logs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Row, func, tuple_
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import NotFound
from app.core.statuses import (
    FINAL_RUN_STATUSES,
    AttemptStatus,
    RunStatus,
    StepStatus,
    TriggerKind,
)
from app.engine.artifacts.store import Artifact
from app.models import Evidence, Run, RunLog, StepAttempt
from app.schemas.run import AttemptForm, LogForm, LogLevel, RunForm, RunSummary, StepForm
from app.services.access import require_readable_run, require_workflow
from app.services.callers import Caller
from app.services.pages import decode_cursor, newest_first
from app.services.relations import relations_of

LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
_LOG_KEY = (col(RunLog.at), col(RunLog.path), col(RunLog.attempt), col(RunLog.line))
_SETTLED = {
    AttemptStatus.RUNNING: StepStatus.RUNNING,
    AttemptStatus.WAITING: StepStatus.WAITING,
    AttemptStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    AttemptStatus.SKIPPED: StepStatus.SKIPPED,
    AttemptStatus.CANCELLED: StepStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None leaves a field open."""

    workflow_id: str | None = None
    status: RunStatus | None = None
    trigger: TriggerKind | None = None
    since: datetime | None = None

    def narrow(self, query: SelectOfScalar[Run]) -> SelectOfScalar[Run]:
        """Return the query with these conditions."""
        if self.workflow_id is not None:
            query = query.where(col(Run.workflow_id) == self.workflow_id)
        if self.status is not None:
            query = query.where(col(Run.status) == self.status)
        if self.trigger is not None:
            query = query.where(col(Run.trigger_kind) == self.trigger)
        if self.since is not None:
            query = query.where(col(Run.created_at) >= self.since)
        return query


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log lines to list: of a step and its iterations, of at least a `level`, with a `text` in the message."""

    step: str | None = None
    level: LogLevel = "debug"
    text: str | None = None

    def narrow(self, query: SelectOfScalar[RunLog]) -> SelectOfScalar[RunLog]:
        """Return the query with these conditions."""
        levels = LOG_LEVELS[LOG_LEVELS.index(self.level) :]
        query = query.where(col(RunLog.level).in_(levels))
        if self.text is not None:
            query = query.where(col(RunLog.message).icontains(self.text, autoescape=True))
        if self.step is None:
            return query
        inside = f"{self.step}["
        begins = func.substr(col(RunLog.path), 1, len(inside))
        return query.where((col(RunLog.path) == self.step) | (begins == inside))


@dataclass(frozen=True, slots=True)
class Runs:
    """What a user may read of their runs."""

    session: Session
    caller: Caller

    def list(
        self, wanted: RunFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[RunSummary], str | None]:
        """Return a page of the history, newest first, and the next page's cursor."""
        lean = select(Run).options(defer(Run.input), defer(Run.output), defer(Run.response))
        query = wanted.narrow(lean.where(Run.owner_id == self.caller.id))
        runs, next_cursor = newest_first(self.session, query, Run.id, limit, cursor)
        return [summary_of(run) for run in runs], next_cursor

    def list_of(
        self, workflow_id: str, status: RunStatus | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[RunSummary], str | None]:
        """Return a page of one workflow's history.

        Raises:
            NotFound: the workflow is absent or another owner's.
        """
        require_workflow(self.session, self.caller, workflow_id)
        return self.list(RunFilter(workflow_id=workflow_id, status=status), limit, cursor)

    def get(self, run_id: str) -> RunForm:
        """Return a run with its steps.

        Raises:
            NotFound: it is absent or another owner's.
        """
        run = require_readable_run(self.session, self.caller, run_id)
        query = (
            select(StepAttempt)
            .where(StepAttempt.run_id == run_id)
            .order_by(col(StepAttempt.seq), col(StepAttempt.attempt))
        )
        steps = summarise(self.session.exec(query).all(), over=run.status in FINAL_RUN_STATUSES)
        output = output_of(run, run_id)
        return RunForm(
            **summary_of(run).model_dump(),
            context=run.context,
            **relations_of(self.session, run, self.caller.id),
            input=run.input,
            output=output,
            control=run.control,
            steps=steps,
        )

    def attempts(self, run_id: str, path: str) -> Sequence[AttemptForm]:
        """Return the attempts at one step, first one first.

        Raises:
            NotFound: the run, or the step in it, is absent, or another owner's.
        """
        require_readable_run(self.session, self.caller, run_id)
        query = (
            select(StepAttempt)
            .where(StepAttempt.run_id == run_id, StepAttempt.path == path)
            .order_by(col(StepAttempt.attempt))
        )
        found = self.session.exec(query).all()
        if not found:
            raise NotFound(
                f"No step {path} has started in this run: GET /api/v1/runs/{run_id} lists those that have."
            )
        return [
            AttemptForm.model_validate({**row.model_dump(), "output": output_of(row, run_id)})
            for row in found
        ]

    def artifact(self, run_id: str, sha256: str) -> Artifact:
        """Return a large output of the run or of one of its steps, or a large content of its evidence.

        Raises:
            NotFound: the run has none with this hash, or is absent or another owner's.
        """
        run = require_readable_run(self.session, self.caller, run_id)
        query = select(StepAttempt.output_bytes).where(
            StepAttempt.run_id == run_id, StepAttempt.output_artifact == sha256
        )
        size = self.session.exec(query).first()
        if size is None and run.output_artifact == sha256:
            size = run.output_bytes
        if size is None:
            attached = select(Evidence.artifact_bytes).where(
                Evidence.run_id == run_id, Evidence.artifact == sha256
            )
            size = self.session.exec(attached).first()
        if size is None:
            raise NotFound(
                f"This run has no such artifact: GET /api/v1/runs/{run_id} tells the `url` of each."
            )
        return Artifact(sha256, size)

    def logs(
        self, run_id: str, wanted: LogFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[LogForm], str | None]:
        """Return a page of the run's log lines, oldest first.

        Raises:
            NotFound: the run is absent or another owner's.
        """
        run = require_readable_run(self.session, self.caller, run_id)
        query = wanted.narrow(select(RunLog).where(RunLog.run_id == run_id))
        if cursor is not None:
            query = query.where(tuple_(*_LOG_KEY) > tuple_(*decode_cursor(cursor, _read_log_key)))
        rows = self.session.exec(query.order_by(*_LOG_KEY).limit(limit + 1)).all()
        next_cursor = _log_cursor(rows[limit - 1]) if len(rows) > limit else None
        return [log_form(row, run.context) for row in rows[:limit]], next_cursor


def summarise(attempts: Sequence[StepAttempt], *, over: bool) -> list[StepForm]:
    """Return what became of each step, in the order of their first attempts; `over`: the run has ended.

    A step of which all attempts are history is to begin anew, or will not: it is left out.
    """
    by_path: dict[str, list[StepAttempt]] = {}
    history: dict[str, int] = {}
    for attempt in sorted(attempts, key=lambda row: row.seq):
        if attempt.superseded:
            history[attempt.path] = history.get(attempt.path, 0) + 1
        else:
            by_path.setdefault(attempt.path, []).append(attempt)
    forms = [_step_form(tries, over=over) for tries in by_path.values()]
    return [
        form.model_copy(update={"attempts": form.attempts + history.get(form.path, 0)})
        for form in forms
    ]


def output_of(row: Run | StepAttempt | Row[Any], run_id: str) -> Any:
    """Return an output, or where to fetch it when it lies in the artifact store."""
    if row.output_artifact is None:
        return row.output
    url = f"/api/v1/runs/{run_id}/artifacts/{row.output_artifact}"
    return {"$artifact": {"sha256": row.output_artifact, "bytes": row.output_bytes, "url": url}}


def summary_of(run: Run) -> RunSummary:
    """Return a run without its steps."""
    return RunSummary(
        id=run.id,
        workflow_id=run.workflow_id,
        version=run.version,
        status=run.status,
        trigger=run.trigger_kind,
        started_by=run.started_by,
        error=run.error,
        waiting_for=run.waiting_for,
        replay_of=run.replay_of,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _step_form(tries: Sequence[StepAttempt], *, over: bool) -> StepForm:
    latest = max(tries, key=lambda row: row.attempt)
    status = _step_status(latest, over=over)
    return StepForm(
        path=latest.path,
        type=latest.type,
        status=status,
        attempts=sum(row.attempt > 0 for row in tries),
        started_at=tries[0].started_at,
        finished_at=None if status is StepStatus.WAITING else latest.finished_at,
        output=output_of(latest, latest.run_id),
        error=latest.error,
    )


def _step_status(latest: StepAttempt, *, over: bool) -> StepStatus:
    settled = _SETTLED.get(latest.status)
    if settled is not None:
        return settled
    will_be_tried_again = latest.retry_at is not None and not over
    return StepStatus.WAITING if will_be_tried_again else StepStatus.FAILED


def log_form(row: RunLog, context: Any) -> LogForm:
    """Return a line with the context of its run."""
    return LogForm.model_validate({**row.model_dump(), "step": row.path, "context": context})


def _log_cursor(row: RunLog) -> str:
    key = orjson.dumps([row.at, row.path, row.attempt, row.line])
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


def _read_log_key(raw: bytes) -> tuple[Any, ...]:
    at, path, attempt, line = orjson.loads(raw)
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or not isinstance(path, str) or "\x00" in path:
        raise TypeError(path)
    return moment.astimezone(UTC), path, _int(attempt), _int(line)


def _int(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise TypeError(value)
    return value
