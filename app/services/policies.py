"""Guardrail policies: who may read and change which, and what they say to a workflow that is saved."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import NotFound, PermissionDenied, PreconditionFailed, Problem
from app.core.permissions import TeamRole
from app.engine.guards.caps import policy_of, rules_of
from app.engine.guards.hosts import host_of, hosts_in
from app.engine.guards.policies import (
    PLATFORM_TARGET,
    VIOLATION,
    Level,
    Policy,
    host_refusal,
    merge,
    node_type_refusal,
)
from app.engine.guards.rules import PolicyRules
from app.models import Policy as PolicyRow
from app.models import PolicyRevision, Team, Workflow
from app.schemas.policy import (
    PlatformPolicyForm,
    PolicyForm,
    PolicyRevisionForm,
    PolicySummary,
)
from app.schemas.workflow import WorkflowChanges, WorkflowDraft
from app.services.access import require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.owners import hold_account
from app.services.policy_caps import require_within

SHOWN_REVISIONS: Final = 20
NOTHING: Final = PolicyRules()
Place = tuple[Level, str]


@dataclass(frozen=True, slots=True)
class Policies:
    """What a caller may do with policies. `session` is committed by whoever made it."""

    session: Session
    caller: Caller
    clock: Clock

    def platform(self) -> PlatformPolicyForm:
        """Return the platform's policy, and all others but those of workflows."""
        form = self._form((Level.PLATFORM, PLATFORM_TARGET), ())
        query = select(PolicyRow).where(PolicyRow.level != Level.WORKFLOW)
        rows = self.session.exec(query.order_by(PolicyRow.level, PolicyRow.target_id)).all()
        return PlatformPolicyForm(**form.model_dump(), items=[_summary(row) for row in rows])

    def of_team(self, team_id: str) -> PolicyForm:
        """Return the policy of a team of the caller.

        Raises:
            NotFound: they are not in it, or there is none.
        """
        self._require_team(team_id)
        return self._form((Level.TEAM, team_id), _above_team())

    def of_workflow(self, workflow_id: str) -> PolicyForm:
        """Return the policy of a workflow.

        Raises:
            NotFound: it is absent or another owner's.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id, TeamRole.VIEWER)
        return self._form((Level.WORKFLOW, workflow_id), _above_workflow(workflow.owner_id))

    def put_platform(
        self, rules: PolicyRules, if_match: Collection[int] | None
    ) -> PlatformPolicyForm:
        """Save the platform's policy.

        Raises:
            PreconditionFailed: `if_match` names other revisions.
        """
        self._put((Level.PLATFORM, PLATFORM_TARGET), rules, if_match, None)
        return self.platform()

    def put_team(
        self, team_id: str, rules: PolicyRules, if_match: Collection[int] | None
    ) -> PolicyForm:
        """Save a team's policy.

        Raises:
            NotFound: the caller is not in it, or there is none.
            PermissionDenied: they are none of its owners.
            PreconditionFailed: `if_match` names other revisions.
            InvalidInput: it asks for more to be counted than it may.
        """
        if self._require_team(team_id) is not TeamRole.OWNER:
            raise PermissionDenied(
                "Only the team's owners change its policy: one of them can give you the role `owner`."
            )
        self._put((Level.TEAM, team_id), rules, if_match, team_id)
        return self.of_team(team_id)

    def put_workflow(
        self, workflow_id: str, rules: PolicyRules, if_match: Collection[int] | None
    ) -> PolicyForm:
        """Save a workflow's policy.

        Raises:
            NotFound: it is absent or another owner's.
            PermissionDenied: the caller may not change the workflow.
            PreconditionFailed: `if_match` names other revisions.
            InvalidInput: it asks for more to be counted than it may.
        """
        workflow = require_workflow(self.session, self.caller, workflow_id, TeamRole.EDITOR)
        self._put((Level.WORKFLOW, workflow_id), rules, if_match, workflow.owner_id)
        return self.of_workflow(workflow_id)

    def _require_team(self, team_id: str) -> TeamRole:
        role = self.caller.teams.get(team_id)
        if role is None:
            raise NotFound(f"There is no team {team_id}, or you are not in it.")
        return role

    def _put(
        self,
        place: Place,
        rules: PolicyRules,
        if_match: Collection[int] | None,
        owner_id: str | None,
    ) -> None:
        """Save a policy as its next revision; what changes nothing is not saved."""
        stored = rules.model_dump(mode="json", exclude_defaults=True)
        if rules.budgets:
            hold_account(self.session, self.caller.id)  # which may save so many of them
        self._hold(place)
        row = self.session.get(PolicyRow, place, with_for_update=True)
        revision = 0 if row is None else row.revision
        if if_match is not None and revision not in if_match:
            raise PreconditionFailed
        if row is not None and row.rules == stored:
            return
        require_within(self.session, place, rules, self.caller.email)
        level, target = place
        values: dict[str, Any] = {
            "revision": revision + 1,
            "rules": stored,
            "updated_at": self.clock.now(),
            "updated_by": self.caller.email,
        }
        if row is None:
            row = PolicyRow(level=level, target_id=target, **values)
        for name, value in values.items():
            setattr(row, name, value)
        self.session.add(row)
        self.session.add(PolicyRevision(level=level, target_id=target, **values))
        self.session.flush()
        details = {"level": level.value, "revision": revision + 1, "policy": stored}
        record(
            self.session, self.caller, Change("policy.changed", "policy", target, owner_id, details)
        )

    def _hold(self, place: Place) -> None:
        """Let nobody else save this policy before the commit: a first one has no row yet that could be locked.

        The platform's row is there from the start.
        """
        level, target = place
        if level is not Level.PLATFORM:
            of = Team if level is Level.TEAM else Workflow
            self.session.get(of, target, with_for_update=True)

    def _form(self, place: Place, above: Sequence[Place]) -> PolicyForm:
        level, target = place
        row = self.session.get(PolicyRow, place)
        rules = NOTHING if row is None else rules_of(level, row.rules)
        others = [policy.rules for policy in load(self.session, above)]
        query = select(PolicyRevision).where(
            PolicyRevision.level == level, PolicyRevision.target_id == target
        )
        newest = query.order_by(col(PolicyRevision.revision).desc()).limit(SHOWN_REVISIONS)
        return PolicyForm(
            level=level,
            target=None if level is Level.PLATFORM else target,
            revision=0 if row is None else row.revision,
            policy=rules,
            effective=merge([*others, rules]),
            updated_at=None if row is None else row.updated_at,
            updated_by=None if row is None else row.updated_by,
            history=[_revision(one) for one in self.session.exec(newest)],
        )


def load(session: Session, places: Sequence[Place]) -> list[Policy]:
    """Return those of the policies that there are, in this order."""
    rows = [session.get(PolicyRow, place) for place in places]
    return [
        policy_of(Level(row.level), row.target_id, row.revision, row.rules)
        for row in rows
        if row is not None
    ]


def policy_problems(
    session: Session,
    owner_id: str,
    workflow_id: str | None,
    form: WorkflowDraft | WorkflowChanges,
) -> Iterator[Problem]:
    """Yield what policies do not allow of a workflow that is to be saved.

    That are node types, and hosts of URLs that stand in it as they are: what an expression says is seen by the run.
    """
    places = list(_above_workflow(owner_id))
    if workflow_id is not None:
        places.append((Level.WORKFLOW, workflow_id))
    policies = load(session, places)
    for at, step in _steps(form.definition, "/definition"):
        yield from _step_problems(policies, step, at)
    for name, hooks in (("on_success", form.on_success), ("on_failure", form.on_failure)):
        for number, hook in enumerate(hooks):
            host = host_of(hook.url or "")
            refusal = None if host is None else host_refusal(policies, host)
            if refusal is not None:
                yield Problem(f"/{name}/{number}/url", VIOLATION, refusal)


def _step_problems(policies: Sequence[Policy], step: Any, at: str) -> Iterator[Problem]:
    node_type, config = step.get("type", step.get("function")), step.get("config")
    if isinstance(node_type, str):
        refusal = node_type_refusal(policies, node_type)
        if refusal is not None:
            yield Problem(f"{at}/type", VIOLATION, refusal)
    for name, host in hosts_in(config) if isinstance(config, dict) else ():
        refusal = host_refusal(policies, host)
        if refusal is not None:
            yield Problem(f"{at}/config/{name}", VIOLATION, refusal)


def _steps(level: Any, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the steps of a definition, or of a loop, with their pointers; what is no step is passed over."""
    if not isinstance(level, dict):
        return
    for name in ("steps", "nodes"):
        found = level.get(name)
        for position, step in enumerate(found if isinstance(found, list) else ()):
            if isinstance(step, dict):
                yield f"{at}/{name}/{position}", step
                yield from _steps(step, f"{at}/{name}/{position}")


def _above_team() -> Sequence[Place]:
    return ((Level.PLATFORM, PLATFORM_TARGET),)


def _above_workflow(owner_id: str) -> Sequence[Place]:
    return (*_above_team(), (Level.TEAM, owner_id))


def _revision(row: PolicyRevision) -> PolicyRevisionForm:
    return PolicyRevisionForm(
        revision=row.revision,
        policy=PolicyRules.model_validate(row.rules),  # as it was saved
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _summary(row: PolicyRow) -> PolicySummary:
    level = Level(row.level)
    return PolicySummary(
        level=level,
        target=None if level is Level.PLATFORM else row.target_id,
        revision=row.revision,
        policy=rules_of(level, row.rules),
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
