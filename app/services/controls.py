"""What a user may do to runs: pause, resume, cancel, retry and replay them, one or many."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import Conflict, InvalidInput, Problem, WorkflowDisabled
from app.core.permissions import TeamRole
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus, TriggerKind
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Action, Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.refusals import RunNotCancellable, RunNotPausable, RunNotResumable
from app.engine.controls.replaying import replay_run
from app.engine.controls.resuming import resume_runs
from app.engine.controls.retrying import retry_runs
from app.engine.evidence.run_context import merged_context, missing_fields
from app.engine.intake import Accepted, NewRun
from app.engine.language.input_schema import input_problems
from app.engine.language.plan import Plan
from app.engine.plans import PlanCache
from app.engine.registry import Catalogue
from app.engine.store import database_now
from app.models import Run, Workflow, WorkflowVersion
from app.schemas.control import MAX_BULK, MAX_BULK_RETRIES, BulkReceipt, BulkRequest, ReplayRequest
from app.schemas.run import RunForm
from app.services.access import require_run, require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.idempotency_keys import require_usable
from app.services.kept_decisions import require_right_to_keep
from app.services.run_lists import reach_of, reach_within
from app.services.runs import Runs
from app.services.stops import not_stopped, require_not_stopped

ONGOING: Final = frozenset(RunStatus) - FINAL_RUN_STATUSES


@dataclass(frozen=True, slots=True)
class Controls:
    """What a user may do to their runs. `session` is committed by the caller, who then hands on the runs in `due`.

    `cancelled` gathers the runs that were cancelled, with those that they waited for.
    """

    session: Session
    caller: Caller
    catalogue: Catalogue
    due: list[str]
    cancelled: set[str] = field(default_factory=set)

    def pause(self, run_id: str, reason: str | None) -> RunForm:
        """Pause a run.

        Raises:
            NotFound: it is absent or another owner's.
            RunNotPausable: it is paused already, or over.
        """
        run = require_run(self.session, self.caller, run_id, TeamRole.RUNNER)
        control = self._control("pause", reason)
        if not pause_runs(self.session.connection(), [run_id], control):
            raise self._refusal(RunNotPausable, run_id)
        self._record("paused", run, reason=reason)
        return self._run(run_id)

    def resume(self, run_id: str, reason: str | None) -> RunForm:
        """Let a paused run go on.

        Raises:
            NotFound: it is absent or another owner's.
            RunNotResumable: it is not paused.
        """
        run = require_run(self.session, self.caller, run_id, TeamRole.RUNNER)
        control = self._control("resume", reason)
        resumed = resume_runs(self.session.connection(), [run_id], control)
        if not resumed.run_ids:
            raise self._refusal(RunNotResumable, run_id)
        self.due.extend(resumed.due)
        self._record("resumed", run, reason=reason)
        return self._run(run_id)

    def cancel(self, run_id: str, reason: str | None) -> RunForm:
        """Cancel a run.

        Raises:
            NotFound: it is absent or another owner's.
            RunNotCancellable: it is over.
        """
        run = require_run(self.session, self.caller, run_id, TeamRole.RUNNER)
        control = self._control("cancel", reason)
        self.cancelled.update(cancel_runs(self.session.connection(), [run_id], control))
        if run_id not in self.cancelled:
            raise self._refusal(RunNotCancellable, run_id)
        self._record("cancelled", run, reason=reason)
        return self._run(run_id)

    def retry(self, run_id: str, path: str, reason: str | None) -> RunForm:
        """Let a failed run go on from a failed step.

        Raises:
            NotFound: the run, or the step in it, is absent, or another owner's.
            RunNotRetryable: it has not failed, or its time is up.
            StepNotRetryable: the step has not failed.
            KillSwitched: an operator has stopped its workflow.
        """
        run = require_run(self.session, self.caller, run_id, TeamRole.RUNNER)
        control = self._control("retry", reason)
        require_not_stopped(self.session, run.owner_id, run.workflow_id, control.at)
        plans = PlanCache(self.catalogue)
        retried = retry_runs(self.session.connection(), {run_id: path}, plans, control)
        if run_id in retried.refused:
            raise retried.refused[run_id]
        self.due.extend(retried.due)
        self._record("retried", run, reason=reason, step=path)
        return self._run(run_id)

    def cancel_many(self, wanted: BulkRequest) -> BulkReceipt:
        """Cancel the runs that fit, as many as are taken at once."""
        run_ids, more = self._matching(wanted, ONGOING, MAX_BULK)
        control = self._control("cancel", wanted.reason)
        if run_ids:
            self.cancelled.update(cancel_runs(self.session.connection(), run_ids, control))
        receipt = _receipt(run_ids, self.cancelled, more=more)
        self._record_many("cancelled", wanted, receipt)
        return receipt

    def retry_many(self, wanted: BulkRequest) -> BulkReceipt:
        """Let the failed runs that fit go on from where they failed, as many as are taken at once.

        Raises:
            KillSwitched: an operator has stopped the workflows of all of them.
        """
        run_ids, more = self._matching(wanted, {RunStatus.FAILED}, MAX_BULK_RETRIES)
        control = self._control("retry", wanted.reason)
        run_ids = not_stopped(self.session, run_ids, control.at)
        retried = retry_runs(
            self.session.connection(), dict.fromkeys(run_ids), PlanCache(self.catalogue), control
        )
        self.due.extend(retried.due)
        receipt = _receipt(run_ids, retried.due, more=more)
        self._record_many("retried", wanted, receipt)
        return receipt

    def replay(self, run_id: str, form: ReplayRequest, key: str | None) -> tuple[Run, Accepted]:
        """Make a new run like this one; returns this one, and the new one or the first that was made with the key.

        Raises:
            NotFound: the run or its workflow is absent, or another owner's.
            PermissionDenied: a decision would be kept that was given for the earlier run.
            WorkflowDisabled: its workflow is switched off.
            KillSwitched: an operator has stopped it.
            InvalidInput: the key, the step, the run's input or its context does not fit.
            RunNotReplayable: results that are to be kept do not fit the version, or the run is not over.
        """
        run = require_run(self.session, self.caller, run_id, TeamRole.RUNNER)
        workflow = require_workflow(self.session, self.caller, run.workflow_id, TeamRole.RUNNER)
        if not workflow.enabled:
            raise WorkflowDisabled
        now = self._now()
        require_not_stopped(self.session, workflow.owner_id, workflow.id, now)
        plans = PlanCache(self.catalogue)
        new = NewRun(
            owner_id=workflow.owner_id,
            workflow_id=run.workflow_id,
            version_id=run.version_id,
            version=run.version,
            trigger=TriggerKind.REPLAY,
            input=run.input,
            idempotency_key=_key(run_id, key),
            context=_context(run, workflow),
            started_by=self.caller.email,
        )
        if form.version == "latest":
            new = self._with_latest(new, workflow, plans)
        connection = self.session.connection()
        accepted = replay_run(connection, run_id, new, form.from_step, plans, now)
        if not accepted.duplicate:
            if form.from_step is not None:
                require_right_to_keep(self.session, self.caller, workflow, accepted.run_id)
            self.due.append(accepted.run_id)
            self._record(
                "replayed",
                run,
                new_run_id=accepted.run_id,
                version=new.version,
                from_step=form.from_step,
            )
        return run, accepted

    def _with_latest(self, new: NewRun, workflow: Workflow, plans: PlanCache) -> NewRun:
        version_id = self.session.exec(
            select(WorkflowVersion.id).where(
                WorkflowVersion.workflow_id == workflow.id,
                WorkflowVersion.version == workflow.version,
            )
        ).one()
        loaded = plans.load(self.session.connection(), [version_id])[version_id]
        inputs = loaded.plan.inputs if isinstance(loaded.plan, Plan) else None
        problems = [] if inputs is None else input_problems(inputs, new.input)
        if problems:
            raise InvalidInput(
                "The run's input does not fit the `inputs` schema of the latest version.", problems
            )
        return replace(new, version_id=version_id, version=workflow.version)

    def _matching(
        self, wanted: BulkRequest, allowed: Collection[RunStatus], most: int
    ) -> tuple[Sequence[str], bool]:
        """Return the newest runs that fit and stand in one of these states, and whether there are more."""
        if wanted.workflow_id is None:
            reach = reach_of(self.session, self.caller, TeamRole.RUNNER)
        else:
            reach = reach_within(self.session, self.caller, wanted.workflow_id, TeamRole.RUNNER)

        def narrow(query: SelectOfScalar[str]) -> SelectOfScalar[str]:
            return _narrowed(query.where(col(Run.status).in_(allowed)), wanted)

        found = reach.newest(self.session, narrow, most + 1)
        return found[:most], len(found) > most

    def _record(self, done: str, run: Run, **details: Any) -> None:
        given = {name: value for name, value in details.items() if value is not None}
        change = Change(f"run.{done}", "run", run.id, run.owner_id, given, run.id)
        record(self.session, self.caller, change)

    def _record_many(self, done: str, wanted: BulkRequest, receipt: BulkReceipt) -> None:
        if receipt.changed == 0:
            return
        filters = wanted.model_dump(mode="json", exclude_none=True, exclude={"reason"})
        details = {"filter": filters, "matched": receipt.matched, "changed": receipt.changed}
        reason = {} if wanted.reason is None else {"reason": wanted.reason}
        change = Change(f"runs.{done}", "run", "many", self.caller.id, {**details, **reason})
        record(self.session, self.caller, change)

    def _control(self, action: Action, reason: str | None) -> Control:
        return Control(action, self.caller.email, self._now(), reason)

    def _now(self) -> datetime:
        """Return the database's time, which workers go by as well."""
        return database_now(self.session.connection())

    def _run(self, run_id: str) -> RunForm:
        self.session.expire_all()
        return Runs(self.session, self.caller).get(run_id)

    def _refusal(self, refusal: type[Conflict], run_id: str) -> Conflict:
        """Return why it was refused, with the state that the run stands in now."""
        self.session.expire_all()
        status = require_run(self.session, self.caller, run_id, TeamRole.RUNNER).status
        return refusal(f"The run is {status}. {refusal().detail}")


def _narrowed(query: SelectOfScalar[str], wanted: BulkRequest) -> SelectOfScalar[str]:
    if wanted.workflow_id is not None:
        query = query.where(Run.workflow_id == wanted.workflow_id)
    if wanted.status is not None:
        query = query.where(Run.status == wanted.status)
    if wanted.since is not None:
        query = query.where(col(Run.created_at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(Run.created_at) < wanted.until)
    if wanted.ids is not None:
        query = query.where(col(Run.id).in_(wanted.ids))
    return query


def _receipt(run_ids: Sequence[str], changed: Collection[str], *, more: bool) -> BulkReceipt:
    done = [run_id for run_id in run_ids if run_id in changed]
    return BulkReceipt(matched=len(run_ids), changed=len(done), run_ids=done, more=more)


def _context(run: Run, workflow: Workflow) -> Mapping[str, Any] | None:
    """Return the context of a replay: the run's own, held against what the workflow requires today."""
    context = merged_context(workflow.context_required, run.context)
    missing = missing_fields(workflow.context_required, context)
    if missing:
        how = "set the workflow's `context.defaults`, or start it anew with a `context`."
        raise InvalidInput(
            "The run's context lacks what the workflow requires.",
            [
                Problem(
                    f"/context/{name}", "missing_context", f"The workflow requires `{name}`: {how}"
                )
                for name in missing
            ],
        )
    return context


def _key(run_id: str, key: str | None) -> str | None:
    if key is None:
        return None
    require_usable(key)
    return f"replay:{run_id}:{key}"
