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
from app.core.errors import Conflict, NotFound, PreconditionFailed
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.engine.guards.policies import Level
from app.engine.language.catalogue import NodeCatalogue
from app.models import Workflow, WorkflowVersion
from app.schemas.workflow import Dedupe, NewWorkflow, Rotation, WorkflowChanges, WorkflowDraft
from app.services.access import require_team, require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.event_triggers import event_columns
from app.services.expression_checks import dedupe_problems
from app.services.hooks import hook_columns
from app.services.pages import newest_first
from app.services.policy_caps import forget_budgets
from app.services.save_checks import SaveChecks, check
from app.services.standings import Standing, standings_of
from app.services.webhook_secrets import WebhookSecrets
from app.services.webhook_settings import (
    changed_webhook,
    rotation_values,
    webhook_values,
)
from app.services.workflow_lists import WorkflowFilter


@dataclass(frozen=True, slots=True)
class Saved:
    """A workflow and its newest version."""

    workflow: Workflow
    version: WorkflowVersion
    standing: Standing
    new_secret: str | None = None
    """The secret of its webhook that was made just now; it is not shown again."""


@dataclass(frozen=True, slots=True)
class Workflows:
    """What a user may do with workflows. `session` is committed by the caller."""

    session: Session
    caller: Caller
    catalogue: NodeCatalogue
    clock: Clock
    secrets: WebhookSecrets

    def create(self, draft: NewWorkflow) -> Saved:
        """Save a new workflow with its version 1.

        Raises:
            NotFound, PermissionDenied: the caller is not in the team, or no editor there.
            InvalidDefinition: the definition or the dedupe key does not hold; every problem at once.
        """
        owner_id = self.caller.id
        if draft.team is not None:
            team = require_team(self.session, self.caller, draft.team, TeamRole.EDITOR, hold=True)
            owner_id = team.id
        problems = self.checks.of_definition(draft.definition, owner_id)
        others = self.checks.of_form(draft, None, owner_id)
        check([*problems, *dedupe_problems(draft.dedupe), *others])
        now, id_ = self.clock.now(), new_id()
        webhook, new_secret = webhook_values(draft.webhook, id_, None, self.secrets)
        workflow = Workflow(
            id=id_,
            owner_id=owner_id,
            **_columns(draft, WorkflowDraft.model_fields),
            **webhook,
            created_at=now,
            updated_at=now,
        )
        self.session.add(workflow)
        self.session.flush()
        version = self._add_version(workflow, draft.definition)
        self._record("created", workflow, version=version.version, sha256=version.checksum)
        return replace(self.saved(workflow, version), new_secret=new_secret)

    def list(
        self, wanted: WorkflowFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[tuple[Workflow, Standing]], str | None]:
        """Return a page of the workflows that the caller may see, newest first, and the next page's cursor.

        Raises:
            NotFound: there is no such team, or the caller is not in it.
        """
        query = wanted.query(self.session, self.caller)
        found, next_cursor = newest_first(self.session, query, Workflow.id, limit, cursor)
        standings = standings_of(self.session, self.caller, found)
        return list(zip(found, standings, strict=True)), next_cursor

    def get(self, workflow_id: str, role: TeamRole = TeamRole.VIEWER) -> Saved:
        """Return a workflow on which the caller has at least this role.

        Raises:
            NotFound: it is absent or another owner's.
            PermissionDenied: the caller has a lower role.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id, role)
        return self.saved(workflow, self._version(workflow, workflow.version))

    def saved(self, workflow: Workflow, version: WorkflowVersion) -> Saved:
        """Return a workflow as the caller sees it."""
        (standing,) = standings_of(self.session, self.caller, [workflow])
        return Saved(workflow, version, standing)

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
        saved = self.get(workflow_id, TeamRole.EDITOR)
        _require_match(saved.workflow, if_match)
        sent = changes.model_fields_set
        definition = changes.definition if "definition" in sent else None
        owner_id = saved.workflow.owner_id
        problems = [
            *(self.checks.of_definition(definition, owner_id) if definition is not None else ()),
            *(dedupe_problems(changes.dedupe) if "dedupe" in sent else ()),
            *self.checks.of_form(changes, saved.workflow, owner_id),
        ]
        check(problems)
        is_new_version = definition is not None and checksum(definition) != saved.version.checksum
        webhook, new_secret = changed_webhook(changes, saved.workflow, self.secrets)
        values = _columns(changes, sent) | webhook
        if is_new_version:
            values["version"] = saved.workflow.version + 1
        if all(getattr(saved.workflow, name) == value for name, value in values.items()):
            return saved
        was_enabled = saved.workflow.enabled
        self.compare_and_set(saved.workflow, values, if_match)
        self._record_changes(saved.workflow, values, was_enabled=was_enabled)
        if definition is None or not is_new_version:
            return replace(saved, new_secret=new_secret)
        version = self._add_version(saved.workflow, definition)
        return replace(saved, version=version, new_secret=new_secret)

    def delete(self, workflow_id: str, if_match: Collection[int] | None) -> None:
        """Hide a workflow and stop its triggers; its runs stay readable.

        Raises:
            NotFound: it is absent or another owner's.
            PreconditionFailed: `if_match` names other revisions.
            Conflict: somebody else changed it at the same moment.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id, TeamRole.OWNER)
        _require_match(workflow, if_match)
        self.compare_and_set(workflow, {"deleted_at": self.clock.now()}, if_match)
        place = Level.WORKFLOW, workflow.id
        forget_budgets(self.session, place, self.caller.email, self.clock.now())
        self._record("deleted", workflow)

    def rotate_webhook(self, workflow_id: str, rotation: Rotation) -> Saved:
        """Give the webhook another token, or secret; the one before counts as long as they are to overlap.

        Raises:
            NotFound: it is absent or another owner's.
            InvalidInput: the new secret cannot be used, or there is none to replace.
            Conflict: somebody else changed it at the same moment.
        """
        saved = self.get(workflow_id, TeamRole.EDITOR)
        now = self.clock.now()
        values, new_secret = rotation_values(rotation, saved.workflow, self.secrets, now)
        self.compare_and_set(saved.workflow, values, None)
        self._record("webhook_rotated", saved.workflow)
        return replace(saved, new_secret=new_secret)

    def versions(
        self, workflow_id: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[WorkflowVersion], str | None]:
        """Return a page of a workflow's versions, newest first.

        Raises:
            NotFound: the workflow is absent or another owner's.
        """
        require_workflow(self.session, self.caller, workflow_id, TeamRole.VIEWER)
        without_definition = defer(WorkflowVersion.definition)  # type: ignore[arg-type]  # SQLModel types columns by value
        lean = select(WorkflowVersion).options(without_definition)
        query = lean.where(WorkflowVersion.workflow_id == workflow_id)
        return newest_first(self.session, query, WorkflowVersion.id, limit, cursor)

    def version(self, workflow_id: str, number: int) -> WorkflowVersion:
        """Return one version of a workflow.

        Raises:
            NotFound: the workflow or the version is absent, or another owner's.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id, TeamRole.VIEWER)
        return self._version(workflow, number)

    @property
    def checks(self) -> SaveChecks:
        """Return what finds whatever is wrong with a workflow."""
        return SaveChecks(self.session, self.caller, self.catalogue, self.secrets)

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

    def compare_and_set(
        self, workflow: Workflow, values: Mapping[str, Any], if_match: Collection[int] | None
    ) -> None:
        """Write in one statement that only holds while nobody else has written since we read.

        Raises:
            PreconditionFailed, Conflict: somebody has.
        """
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
