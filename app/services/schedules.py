"""Schedules of a workflow: checked when they are saved, fired by the workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import Conflict, InvalidDefinition, InvalidInput, NotFound, Problem
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.engine.duties.schedules import input_of
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import parse_definition
from app.engine.language.input_schema import input_problems
from app.engine.scheduling.cron import (
    InvalidCron,
    InvalidTimeZone,
    load_zone,
    next_fire,
    next_fires,
    read_cron,
)
from app.models import Schedule, Workflow, WorkflowVersion
from app.schemas.schedule import ScheduleChanges, ScheduleDraft, ScheduleForm
from app.services.access import require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.idempotency_keys import require_usable
from app.services.pages import newest_first

FIRE_TIMES_SHOWN = 5
MAX_SCHEDULES = 100
"""Of one workflow."""
TIMING = frozenset({"cron", "timezone", "enabled"})


@dataclass(frozen=True, slots=True)
class Schedules:
    """What a user may do with the schedules of workflows. `session` is committed by the caller."""

    session: Session
    caller: Caller
    catalogue: NodeCatalogue
    clock: Clock

    def create(
        self, workflow_id: str, draft: ScheduleDraft, key: str | None = None
    ) -> tuple[ScheduleForm, bool]:
        """Save a new schedule, or find the one that was made with the same key; tells whether it is new.

        Raises:
            NotFound: the workflow is absent or another owner's.
            PermissionDenied: the user is no editor of the workflow.
            Conflict: the workflow has as many as it may have.
            InvalidInput: the key, the expression, the time zone or the input does not hold, or the workflow requires a context that
                it does not supply itself; every problem at once.
        """
        # Held until the commit, so that of two at once neither finds room for the last one, or no schedule with the key.
        editor = TeamRole.EDITOR
        workflow = require_workflow(self.session, self.caller, workflow_id, editor, hold=True)
        now = self.clock.now()
        if (before := self._made_with(workflow, key)) is not None:
            return form_of(before, now), False
        self._require_room(workflow)
        schedule = Schedule(
            id=new_id(),
            owner_id=workflow.owner_id,
            workflow_id=workflow.id,
            saved_by=self.caller.id,
            idempotency_key=key,
            **draft.model_dump(),
            created_at=now,
            updated_at=now,
        )
        self._check(workflow, schedule, now)
        schedule.next_fire_at = _next_fire_at(schedule, now)
        self.session.add(schedule)
        self.session.flush()
        self._record("created", schedule)
        return form_of(schedule, now), True

    def list(
        self, workflow_id: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[ScheduleForm], str | None]:
        """Return a page of a workflow's schedules, newest first.

        Raises:
            NotFound: the workflow is absent or another owner's.
        """
        require_workflow(self.session, self.caller, workflow_id, TeamRole.VIEWER)
        query = select(Schedule).where(Schedule.workflow_id == workflow_id)
        found, next_cursor = newest_first(self.session, query, Schedule.id, limit, cursor)
        now = self.clock.now()
        return [form_of(schedule, now) for schedule in found], next_cursor

    def get(self, workflow_id: str, schedule_id: str) -> ScheduleForm:
        """Return a schedule.

        Raises:
            NotFound: it or its workflow is absent, or another owner's.
        """
        _, schedule = self._require(workflow_id, schedule_id, TeamRole.VIEWER)
        return form_of(schedule, self.clock.now())

    def change(self, workflow_id: str, schedule_id: str, changes: ScheduleChanges) -> ScheduleForm:
        """Save the fields that were sent. A changed time counts from now on.

        Raises:
            NotFound: it or its workflow is absent, or another owner's.
            InvalidInput: what comes of it does not hold; every problem at once.
        """
        workflow, schedule = self._require(workflow_id, schedule_id, TeamRole.EDITOR)
        now = self.clock.now()
        sent = changes.model_dump(include=changes.model_fields_set)
        before = schedule.model_dump(include=set(sent))
        for name, value in sent.items():
            setattr(schedule, name, value)
        self._check(workflow, schedule, now)
        changed = {name for name in sent if getattr(schedule, name) != before[name]}
        if changed & TIMING:
            schedule.next_fire_at = _next_fire_at(schedule, now)
        if changed:
            schedule.updated_at, schedule.last_error = now, None
            schedule.saved_by = self.caller.id
            self._record("changed", schedule, fields=sorted(changed))
        self.session.flush()
        return form_of(schedule, now)

    def delete(self, workflow_id: str, schedule_id: str) -> None:
        """Forget a schedule; the runs that it has started stay.

        Raises:
            NotFound: it or its workflow is absent, or another owner's.
        """
        _, schedule = self._require(workflow_id, schedule_id, TeamRole.EDITOR)
        self.session.delete(schedule)
        self.session.flush()
        self._record("deleted", schedule)

    def _require(
        self, workflow_id: str, schedule_id: str, role: TeamRole
    ) -> tuple[Workflow, Schedule]:
        writes = role is TeamRole.EDITOR
        # Whoever gives the workflow away holds it first, then its schedules; after that, they are not ours to change.
        workflow = require_workflow(self.session, self.caller, workflow_id, role, hold=writes)
        query = select(Schedule).where(
            col(Schedule.id) == schedule_id, col(Schedule.workflow_id) == workflow_id
        )
        if writes:
            # A worker that fires it moves it on: neither may write over the other.
            query = query.with_for_update()
        found = self.session.exec(query).first()
        if found is None:
            raise NotFound(f"This workflow has no schedule {schedule_id}.")
        return workflow, found

    def _record(self, done: str, schedule: Schedule, **details: Any) -> None:
        told = {
            "workflow_id": schedule.workflow_id,
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "enabled": schedule.enabled,
            **details,
        }
        change = Change(f"schedule.{done}", "schedule", schedule.id, schedule.owner_id, told)
        record(self.session, self.caller, change)

    def _made_with(self, workflow: Workflow, key: str | None) -> Schedule | None:
        if key is None:
            return None
        require_usable(key)
        query = select(Schedule).where(
            Schedule.workflow_id == workflow.id, Schedule.idempotency_key == key
        )
        return self.session.exec(query).first()

    def _require_room(self, workflow: Workflow) -> None:
        query = select(func.count()).where(col(Schedule.workflow_id) == workflow.id)
        if self.session.exec(query).one() >= MAX_SCHEDULES:
            raise Conflict(
                f"The workflow has {MAX_SCHEDULES} schedules, and may not have more: delete one of them first."
            )

    def _check(self, workflow: Workflow, schedule: Schedule, now: datetime) -> None:
        """Check a schedule, and write its expression as it is kept."""
        problems = [*_time_problems(schedule, now)]
        if schedule.enabled:  # it can always be switched off, whatever has become of the workflow
            problems += [
                *self._input_problems(workflow, schedule, now),
                *_context_problems(workflow),
            ]
        if problems:
            raise InvalidInput("The schedule does not hold: mend what `errors` lists.", problems)
        schedule.cron = read_cron(schedule.cron)

    def _input_problems(
        self, workflow: Workflow, schedule: Schedule, now: datetime
    ) -> Iterator[Problem]:
        query = select(WorkflowVersion.definition).where(
            WorkflowVersion.workflow_id == workflow.id,
            WorkflowVersion.version == workflow.version,
        )
        definition = self.session.exec(query).one()
        try:
            schema = parse_definition(definition, self.catalogue).inputs
        except InvalidDefinition:
            return  # a node type is gone: the run itself will say so
        value = input_of(schedule.id, schedule.input, now)
        for problem in input_problems(schema, value) if schema is not None else ():
            detail = f"{problem.detail} The run's input must fit the workflow's `inputs`."
            yield Problem(f"/input{problem.pointer}", problem.code, detail)


def form_of(schedule: Schedule, now: datetime) -> ScheduleForm:
    """Return the wire form, with the fire times from now on."""
    times: list[datetime] = []
    if schedule.enabled:
        times = next_fires(schedule.cron, schedule.timezone, now, FIRE_TIMES_SHOWN)
    return ScheduleForm(
        **schedule.model_dump(exclude={"owner_id", "saved_by", "idempotency_key"}),
        next_fire_times=times,
    )


def _next_fire_at(schedule: Schedule, now: datetime) -> datetime | None:
    return next_fire(schedule.cron, schedule.timezone, now) if schedule.enabled else None


def _context_problems(workflow: Workflow) -> Iterator[Problem]:
    rules = workflow.context_required
    for name in missing_fields(rules, merged_context(rules, None)):
        yield Problem(
            f"/context/{name}",
            "missing_context",
            f"The workflow requires `{name}`, which a schedule cannot give: set the workflow's `context.defaults`.",
        )


def _time_problems(schedule: Schedule, now: datetime) -> Iterator[Problem]:
    zone_holds = True
    try:
        load_zone(schedule.timezone)
    except InvalidTimeZone as error:
        zone_holds = False
        yield Problem("/timezone", "invalid_timezone", str(error))
    try:
        next_fire(schedule.cron, schedule.timezone if zone_holds else "UTC", now)
    except InvalidCron as error:
        yield Problem("/cron", "invalid_cron", str(error))
