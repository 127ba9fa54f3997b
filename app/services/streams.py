"""What changes in runs, read off the tables as it is committed: nothing is lost when this process is.

A feed remembers what it has told. Ids of changes are places to go on from, in any process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.statuses import FINAL_RUN_STATUSES
from app.models import Run, RunLog, StepAttempt
from app.schemas.stream import StepChange
from app.services.access import require_readable_run
from app.services.callers import Caller
from app.services.runs import log_form, output_of, summary_of

NEWEST_RUNS = 200
"""How many of an owner's runs a feed looks at, and as many of those that were not over when it last looked."""
OVERLAP = timedelta(seconds=5)
"""Commits come a little later than the times they hold."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell. `id` is where to go on after it; None: after the one before."""

    event: Literal["run", "step", "log", "end"]
    data: BaseModel | dict[str, Any]
    id: str | None = None


class Feed(Protocol):
    """Something to read changes from, again and again."""

    caller: Caller

    def read(self, session: Session) -> tuple[Sequence[Change], bool]:
        """Return what is new, and whether that was the last of it."""
        ...


@dataclass(slots=True)
class RunFeed:
    """One run: its steps and log lines as they are committed, its status, and its end. `after` is the last commit told."""

    caller: Caller
    run_id: str
    after: int = 0
    _told: bytes = b""

    def read(self, session: Session) -> tuple[Sequence[Change], bool]:
        """Return what is new, and whether the run is over.

        Raises:
            NotFound: the run is absent, or not theirs to read.
        """
        run = require_readable_run(session, self.caller, self.run_id)
        changes = self._steps(
            session, run.context
        )  # read after the run: what is over brings no more of them
        summary = summary_of(run)
        told = orjson.dumps(summary.model_dump(mode="json"))
        if told != self._told:
            self._told = told
            changes.append(Change("run", summary))
        over = run.status in FINAL_RUN_STATUSES
        if over:
            changes.append(Change("end", {"status": run.status}))
        return changes, over

    def _steps(self, session: Session, context: Any) -> list[Change]:
        query = select(StepAttempt).where(
            StepAttempt.run_id == self.run_id, col(StepAttempt.changed) > self.after
        )
        order = (col(StepAttempt.changed), col(StepAttempt.seq), col(StepAttempt.attempt))
        rows = session.exec(query.order_by(*order)).all()
        if not rows:
            return []
        lines = self._lines(session, {row.path for row in rows}, context)
        changes: list[Change] = []
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            changes += [line for key, line in lines if key == (row.path, row.attempt)]
            ends_commit = following is None or following.changed != row.changed
            changes.append(
                Change("step", _step_change(row), str(row.changed) if ends_commit else None)
            )
        self.after = rows[-1].changed
        return changes

    def _lines(
        self, session: Session, paths: set[str], context: Any
    ) -> list[tuple[tuple[str, int], Change]]:
        """Return log lines: they are committed with the end of their attempt."""
        query = select(RunLog).where(RunLog.run_id == self.run_id, col(RunLog.path).in_(paths))
        rows = session.exec(query.order_by(col(RunLog.at), col(RunLog.line))).all()
        return [((row.path, row.attempt), Change("log", log_form(row, context))) for row in rows]


@dataclass(slots=True)
class OwnerFeed:
    """All of a user's runs: each new status. `since` is the time after which changes are to be told; None: from now on.

    Runs that are not over are always told once at the start.
    """

    caller: Caller
    clock: Clock
    since: datetime | None = None
    _told: dict[str, bytes] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _first: bool = True

    def read(self, session: Session) -> tuple[Sequence[Change], bool]:
        """Return what is new; there is always more to come."""
        changes, place = [], _place(self.clock.now())
        for run in self._look(session):
            summary = summary_of(run)
            over = run.status in FINAL_RUN_STATUSES
            told = orjson.dumps(summary.model_dump(mode="json"))
            if self._told.get(run.id) == told:
                continue
            self._told[run.id] = told
            (self._open.discard if over else self._open.add)(run.id)
            if not (self._first and over and self._is_old(run)):
                changes.append(Change("run", summary, place))
        self._first = False
        return changes, False

    def _look(self, session: Session) -> Sequence[Run]:
        lean = select(Run).options(defer(Run.input), defer(Run.output))
        newest = lean.where(Run.owner_id == self.caller.id).order_by(col(Run.id).desc())
        found = list(session.exec(newest.limit(NEWEST_RUNS)).all())
        older = self._open - {run.id for run in found}
        if older:
            found += session.exec(lean.where(col(Run.id).in_(older))).all()
        self._told = {run.id: self._told[run.id] for run in found if run.id in self._told}
        return sorted(found, key=lambda run: run.id)

    def _is_old(self, run: Run) -> bool:
        if self.since is None:
            return True
        return run.finished_at is None or run.finished_at < self.since - OVERLAP


def place_of(event_id: str | None) -> datetime | None:
    """Return the time that an id of `OwnerFeed` stands for; None for what is no id of ours."""
    if event_id is None or not (event_id.isascii() and event_id.isdigit()) or len(event_id) > 14:
        return None
    return datetime.fromtimestamp(int(event_id) / 1000, UTC)


def _place(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))


def _step_change(row: StepAttempt) -> StepChange:
    return StepChange(
        path=row.path,
        type=row.type,
        attempt=row.attempt,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        retry_at=row.retry_at,
        output=output_of(row, row.run_id),
        error=row.error,
    )
