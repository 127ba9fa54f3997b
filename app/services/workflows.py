"""Workflows: saved, versioned, changed under guard, hidden when deleted."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import update
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import Conflict, InvalidDefinition, NotFound, PreconditionFailed, Problem
from app.core.ids import new_id
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.definition import parse_definition
from app.models import Workflow, WorkflowVersion
from app.schemas.workflow import Dedupe, Rotation, WorkflowChanges, WorkflowDraft
from app.services.access import require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.event_triggers import event_columns, event_problems
from app.services.expression_checks import dedupe_problems
from app.services.hooks import hook_columns, hook_problems
from app.services.pages import newest_first
from app.services.webhook_secrets import WebhookSecrets
from app.services.webhook_settings import (
    changed_webhook,
    rotation_values,
    webhook_problems,
    webhook_values,
)


@dataclass(frozen=True, slots=True)
class Saved:
    """A workflow and its newest version."""

    workflow: Workflow
    version: WorkflowVersion
    new_secret: str | None = None
    """The secret of its webhook that was made just now; it is not shown again."""


@dataclass(frozen=True, slots=True)
class Workflows:
    """What a user may do with their workflows. `session` is committed by the caller."""

    session: Session
    caller: Caller
    catalogue: NodeCatalogue
    clock: Clock
    secrets: WebhookSecrets

    def create(self, draft: WorkflowDraft) -> Saved:
        """Save a new workflow with its version 1.

        Raises:
            InvalidDefinition: the definition or the dedupe key does not hold; every problem at once.
        """
        check(draft.definition, draft.dedupe, self.catalogue, self._other_problems(draft, None))
        now, id_ = self.clock.now(), new_id()
        webhook, new_secret = webhook_values(draft.webhook, id_, None, self.secrets)
        workflow = Workflow(
            id=id_,
            owner_id=self.caller.id,
            **_columns(draft, WorkflowDraft.model_fields),
            **webhook,
            created_at=now,
            updated_at=now,
        )
        self.session.add(workflow)
        self.session.flush()
        version = self._add_version(workflow, draft.definition)
        self._record("created", workflow, version=version.version, sha256=version.checksum)
        return Saved(workflow, version, new_secret)

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[Workflow], str | None]:
        """Return a page of the workflows, newest first, and the next page's cursor."""
        query = select(Workflow).where(
            Workflow.owner_id == self.caller.id, col(Workflow.deleted_at).is_(None)
        )
        return newest_first(self.session, query, Workflow.id, limit, cursor)

    def get(self, workflow_id: str) -> Saved:
        """Return a workflow.

        Raises:
            NotFound: it is absent or another owner's.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id)
        return Saved(workflow, self._version(workflow, workflow.version))

    def change(
        self,
        workflow_id: str,
        changes: WorkflowDraft | WorkflowChanges,
        if_match: Collection[int] | None,
    ) -> Saved:
        """Save the fields that were sent; a changed definition becomes the next version, and no change changes nothing.

        Raises:
            NotFound: it is absent or another owner's.
            InvalidDefinition: the definition or the dedupe key does not hold; every problem at once.
            PreconditionFailed: `if_match` names other revisions.
            Conflict: somebody else changed it at the same moment.
        """
        saved = self.get(workflow_id)
        _require_match(saved.workflow, if_match)
        sent = changes.model_fields_set
        definition = changes.definition if "definition" in sent else None
        others = self._other_problems(changes, saved.workflow)
        check(definition, changes.dedupe if "dedupe" in sent else None, self.catalogue, others)
        is_new_version = definition is not None and checksum(definition) != saved.version.checksum
        webhook, new_secret = changed_webhook(changes, saved.workflow, self.secrets)
        values = _columns(changes, sent) | webhook
        if is_new_version:
            values["version"] = saved.workflow.version + 1
        if all(getattr(saved.workflow, name) == value for name, value in values.items()):
            return saved
        was_enabled = saved.workflow.enabled
        self._compare_and_set(saved.workflow, values, if_match)
        self._record_changes(saved.workflow, values, was_enabled=was_enabled)
        if definition is None or not is_new_version:
            return replace(saved, new_secret=new_secret)
        return Saved(saved.workflow, self._add_version(saved.workflow, definition), new_secret)

    def delete(self, workflow_id: str, if_match: Collection[int] | None) -> None:
        """Hide a workflow and stop its triggers; its runs stay readable.

        Raises:
            NotFound: it is absent or another owner's.
            PreconditionFailed: `if_match` names other revisions.
            Conflict: somebody else changed it at the same moment.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id)
        _require_match(workflow, if_match)
        self._compare_and_set(workflow, {"deleted_at": self.clock.now()}, if_match)
        self._record("deleted", workflow)

    def rotate_webhook(self, workflow_id: str, rotation: Rotation) -> Saved:
        """Give the webhook another token, or secret; the one before counts as long as they are to overlap.

        Raises:
            NotFound: it is absent or another owner's.
            InvalidInput: the new secret cannot be used, or there is none to replace.
            Conflict: somebody else changed it at the same moment.
        """
        saved = self.get(workflow_id)
        now = self.clock.now()
        values, new_secret = rotation_values(rotation, saved.workflow, self.secrets, now)
        self._compare_and_set(saved.workflow, values, None)
        self._record("webhook_rotated", saved.workflow)
        return replace(saved, new_secret=new_secret)

    def versions(
        self, workflow_id: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[WorkflowVersion], str | None]:
        """Return a page of a workflow's versions, newest first.

        Raises:
            NotFound: the workflow is absent or another owner's.
        """
        require_workflow(self.session, self.caller, workflow_id)
        without_definition = defer(WorkflowVersion.definition)  # type: ignore[arg-type]  # SQLModel types columns by value
        lean = select(WorkflowVersion).options(without_definition)
        query = lean.where(WorkflowVersion.workflow_id == workflow_id)
        return newest_first(self.session, query, WorkflowVersion.id, limit, cursor)

    def version(self, workflow_id: str, number: int) -> WorkflowVersion:
        """Return one version of a workflow.

        Raises:
            NotFound: the workflow or the version is absent, or another owner's.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id)
        return self._version(workflow, number)

    def _other_problems(
        self, form: WorkflowDraft | WorkflowChanges, saved: Workflow | None
    ) -> Sequence[Problem]:
        hooks = hook_problems(self.session, self.caller.id, form)
        webhook = webhook_problems(form, saved, self.secrets)
        return [*event_problems(form, saved), *hooks, *webhook]

    def _version(self, workflow: Workflow, number: int) -> WorkflowVersion:
        query = select(WorkflowVersion).where(
            WorkflowVersion.workflow_id == workflow.id, WorkflowVersion.version == number
        )
        found = self.session.exec(query).first()
        if found is None:
            raise NotFound(
                f"There is no version {number}: this workflow has 1 to {workflow.version}."
            )
        return found

    def _add_version(self, workflow: Workflow, definition: dict[str, Any]) -> WorkflowVersion:
        version = WorkflowVersion(
            id=new_id(),
            workflow_id=workflow.id,
            version=workflow.version,
            definition=definition,
            checksum=checksum(definition),
            created_by=self.caller.id,
            created_at=self.clock.now(),
        )
        self.session.add(version)
        self.session.flush()
        return version

    def _record_changes(
        self, workflow: Workflow, values: Mapping[str, Any], *, was_enabled: bool
    ) -> None:
        """Put on record which fields were changed; not to what, for that may hold secrets."""
        if workflow.enabled is not was_enabled:
            self._record("enabled" if workflow.enabled else "disabled", workflow)
        fields = sorted(values.keys() - {"enabled"})
        if fields:
            self._record("changed", workflow, fields=fields, version=workflow.version)

    def _record(self, done: str, workflow: Workflow, **details: Any) -> None:
        told = {"name": workflow.name, **details}
        change = Change(f"workflow.{done}", "workflow", workflow.id, workflow.owner_id, told)
        record(self.session, self.caller, change)

    def _compare_and_set(
        self, workflow: Workflow, values: Mapping[str, Any], if_match: Collection[int] | None
    ) -> None:
        """Write in one statement that only holds while nobody else has written since we read."""
        now = self.clock.now()
        statement = (
            update(Workflow)
            .where(col(Workflow.id) == workflow.id, col(Workflow.revision) == workflow.revision)
            .values(**values, revision=workflow.revision + 1, updated_at=now)
            .execution_options(synchronize_session=False)
        )
        if self.session.execute(statement).rowcount != 1:  # type: ignore[attr-defined]
            if if_match is not None:
                raise PreconditionFailed
            raise Conflict("Somebody else changed this workflow at the same moment: try again.")
        self.session.refresh(workflow)


def check(
    definition: dict[str, Any] | None,
    dedupe: Dedupe | None,
    catalogue: NodeCatalogue,
    others: Sequence[Problem] = (),
) -> None:
    """Check what a caller wants to save; what is None stays as it is. `others` are problems found elsewhere.

    Raises:
        InvalidDefinition: every problem at once, with pointers into the request body.
    """
    problems = [*dedupe_problems(dedupe), *others]
    if definition is not None:
        problems = [*definition_problems(definition, catalogue), *problems]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidDefinition(
            f"The workflow has {count}: mend what `errors` lists and send it again.", problems
        )


def definition_problems(definition: Any, catalogue: NodeCatalogue) -> Sequence[Problem]:
    """Return everything that is wrong with a definition, with pointers that begin with `/definition`."""
    try:
        parse_definition(definition, catalogue)
    except InvalidDefinition as error:
        return [Problem(f"/definition{p.pointer}", p.code, p.detail) for p in error.problems]
    return []


def checksum(definition: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a definition as JSON with sorted keys: equal ones have equal checksums."""
    return hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _columns(form: WorkflowDraft | WorkflowChanges, sent: Collection[str]) -> dict[str, Any]:
    """Return the columns for the fields that were sent."""
    plain = ("name", "description", "enabled")
    columns: dict[str, Any] = {name: getattr(form, name) for name in plain if name in sent}
    if "dedupe" in sent:
        dedupe = form.dedupe or Dedupe()
        columns["dedupe_key"] = dedupe.key
        columns["dedupe_by_input"] = dedupe.by_input
        columns["dedupe_ttl_seconds"] = dedupe.ttl_seconds
    if "context" in sent:
        columns["context_required"] = form.context.stored if form.context else None
    return columns | hook_columns(form, sent) | event_columns(form, sent)


def _require_match(workflow: Workflow, if_match: Collection[int] | None) -> None:
    if if_match is not None and workflow.revision not in if_match:
        raise PreconditionFailed
