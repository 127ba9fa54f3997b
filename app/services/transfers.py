"""Workflows that go over to another owner."""

from dataclasses import asdict, dataclass

from sqlalchemy import delete, update
from sqlmodel import col, select

from app.core.errors import Conflict, NotFound
from app.core.permissions import TeamRole
from app.models import Schedule, User, Workflow, WorkflowShare
from app.schemas.team import OwnerForm, TransferReceipt, TransferRequest
from app.schemas.workflow import WorkflowChanges
from app.services.access import require_team
from app.services.audit import Change, record
from app.services.owners import owner_of
from app.services.workflows import Saved, Workflows


@dataclass(frozen=True, slots=True)
class Transfers:
    """What an owner may do to let go of a workflow."""

    workflows: Workflows

    def transfer(self, workflow_id: str, wanted: TransferRequest) -> TransferReceipt:
        """Give a workflow, with its schedules, to another owner; its shares end. Runs stay whose they are.

        Given to another person it is disabled until they enable it: it would act in their name, and they have not read it.

        Raises:
            NotFound: the workflow, the person or the team is not there, or not for the caller to see.
            PermissionDenied: it is not the caller's to give, or they are no editor of the team.
            Conflict: it would not hold as the new owner's, or somebody else changed it at the same moment.
        """
        saved = self.workflows.get(workflow_id, TeamRole.OWNER)
        workflow, old_owner = saved.workflow, saved.workflow.owner_id
        new_owner = self._new_owner(wanted)
        if new_owner != old_owner:
            self._require_that_it_holds(saved, new_owner)
            self._move(workflow, new_owner, keeps_running=wanted.team is not None)
        owner = owner_of(self.workflows.session, new_owner)
        return TransferReceipt(
            id=workflow.id, owner=OwnerForm(**asdict(owner)), enabled=workflow.enabled
        )

    def _move(self, workflow: Workflow, new_owner: str, *, keeps_running: bool) -> None:
        old_owner, caller = workflow.owner_id, self.workflows.caller
        keeps_running = keeps_running or new_owner == caller.id
        values = {"owner_id": new_owner, "enabled": workflow.enabled and keeps_running}
        self.workflows.compare_and_set(workflow, values, None)
        session = self.workflows.session
        of_it = update(Schedule).where(col(Schedule.workflow_id) == workflow.id)
        session.execute(of_it.values(owner_id=new_owner))
        session.execute(delete(WorkflowShare).where(col(WorkflowShare.workflow_id) == workflow.id))
        details = {"from": old_owner, "to": new_owner}
        record(
            session,
            caller,
            Change("workflow.transferred", "workflow", workflow.id, new_owner, details),
        )

    def _new_owner(self, wanted: TransferRequest) -> str:
        session, caller = self.workflows.session, self.workflows.caller
        if wanted.team is not None:
            return require_team(session, caller, wanted.team, TeamRole.EDITOR, hold=True).id
        found = session.exec(select(User.id).where(User.email == wanted.owner)).first()
        if found is None:
            raise NotFound(f"Nobody has the address {wanted.owner}.")
        return found

    def _require_that_it_holds(self, saved: Saved, new_owner: str) -> None:
        workflow = saved.workflow
        as_theirs = WorkflowChanges.model_validate(
            {
                "definition": saved.version.definition,
                "on_success": workflow.on_success or [],
                "on_failure": workflow.on_failure or [],
            }
        )
        problems = [
            *self.workflows.checks.of_definition(saved.version.definition, new_owner),
            *self.workflows.checks.of_form(as_theirs, workflow, new_owner),
        ]
        if problems:
            faults = " ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
            raise Conflict(f"The workflow would not hold as the new owner's. {faults}")
