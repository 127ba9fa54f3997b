"""What is checked when a workflow is saved: everything that is wrong with it, at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import read_definition
from app.models import Workflow
from app.schemas.workflow import WorkflowChanges, WorkflowDraft
from app.services.approver_checks import approver_problems
from app.services.callers import Caller
from app.services.credential_checks import credential_problems
from app.services.event_triggers import event_problems
from app.services.hooks import hook_problems
from app.services.policies import policy_problems
from app.services.webhook_secrets import WebhookSecrets
from app.services.webhook_settings import webhook_problems


@dataclass(frozen=True, slots=True)
class SaveChecks:
    """Finds what is wrong with a workflow that `caller` saves."""

    session: Session
    caller: Caller
    catalogue: NodeCatalogue
    secrets: WebhookSecrets

    def of_definition(self, definition: Any, owner_id: str) -> Sequence[Problem]:
        """Return what is wrong with a definition as this owner's, with pointers that begin with `/definition`."""
        try:
            plan, problems = read_definition(definition, self.catalogue)
        except InvalidDefinition as error:
            return _in_definition(error.problems)
        in_vault = credential_problems(self.session, self.caller, owner_id, plan)
        return _in_definition([*problems, *in_vault])

    def of_form(
        self, form: WorkflowDraft | WorkflowChanges, saved: Workflow | None, owner_id: str
    ) -> Sequence[Problem]:
        """Return what else is wrong with a form, as this owner's workflow, and what policies do not allow of it."""
        workflow_id = saved.id if saved else None
        return [
            *event_problems(form, saved),
            *hook_problems(self.session, owner_id, form),
            *approver_problems(self.session, form.definition),
            *policy_problems(self.session, owner_id, workflow_id, form),
            *webhook_problems(form, saved, self.secrets),
        ]


def check(problems: Sequence[Problem]) -> None:
    """Refuse what a caller wants to save when there is anything wrong with it.

    Raises:
        InvalidDefinition: every problem at once, with pointers into the request body.
    """
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidDefinition(
            f"The workflow has {count}: mend what `errors` lists and send it again.", problems
        )


def _in_definition(problems: Sequence[Problem]) -> Sequence[Problem]:
    return [Problem(f"/definition{p.pointer}", p.code, p.detail) for p in problems]
