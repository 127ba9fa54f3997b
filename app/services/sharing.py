"""Share one workflow with a person, or with everybody in a team."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import Conflict, NotFound
from app.core.ids import parse_id
from app.core.permissions import TeamRole
from app.models import Team, TeamName, User, Workflow, WorkflowShare
from app.schemas.team import Grantee, OwnerForm, ShareDraft, ShareForm, team_key
from app.services.access import require_workflow
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.owners import Owner, owner_of, owners_of

MAX_SHARES: Final = 100
"""Of one workflow."""
MAX_GRANTED: Final = 200
"""With one person or team: lists of runs walk along each."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What an owner may do about who else sees a workflow. `session` is committed by the caller."""

    session: Session
    caller: Caller
    clock: Clock

    def list(self, workflow_id: str) -> Sequence[ShareForm]:
        """Return whom a workflow is shared with, the first one first.

        Raises:
            NotFound: it is absent or another owner's.
        """
        require_workflow(self.session, self.caller, workflow_id, TeamRole.VIEWER)
        order = (col(WorkflowShare.created_at), col(WorkflowShare.grantee_id))
        query = select(WorkflowShare).where(WorkflowShare.workflow_id == workflow_id)
        shares = self.session.exec(query.order_by(*order)).all()
        owners = owners_of(self.session, [share.grantee_id for share in shares])
        return [_form(share, owners[share.grantee_id]) for share in shares]

    def put(self, workflow_id: str, wanted: ShareDraft) -> ShareForm:
        """Share a workflow, or change the role of somebody whom it is shared with.

        Raises:
            NotFound: the workflow, the person or the team is not there.
            PermissionDenied: the caller is no owner of it.
            Conflict: it is theirs already, or there is no room for more.
        """
        workflow, grantee = self._hold(workflow_id, TeamRole.OWNER, wanted)
        if grantee.id == workflow.owner_id:
            raise Conflict(f"The workflow is {grantee.name}'s own: there is nothing to share.")
        share = self.session.get(WorkflowShare, (workflow.id, grantee.id))
        if share is None:
            self._require_room(workflow, grantee)
            share = WorkflowShare(
                workflow_id=workflow.id,
                grantee_id=grantee.id,
                role=wanted.role,
                created_by=self.caller.id,
                created_at=self.clock.now(),
            )
        share.role = wanted.role
        self.session.add(share)
        self.session.flush()
        self._record("workflow.shared", workflow, grantee, wanted.role)
        return _form(share, grantee)

    def delete(self, workflow_id: str, wanted: Grantee) -> None:
        """Share a workflow no longer. Everybody may give back what is shared with themselves.

        Raises:
            NotFound: the workflow is not there, or not shared with them.
            PermissionDenied: the caller is no owner of it, and it is another's share.
        """
        is_own = wanted.user == self.caller.email
        role = TeamRole.VIEWER if is_own else TeamRole.OWNER
        workflow, grantee = self._hold(workflow_id, role, wanted)
        share = self.session.get(WorkflowShare, (workflow.id, grantee.id))
        if share is None:
            raise NotFound(f"The workflow is not shared with {grantee.name}.")
        self.session.delete(share)
        self._record("workflow.unshared", workflow, grantee, share.role)

    def _hold(self, workflow_id: str, role: TeamRole, wanted: Grantee) -> tuple[Workflow, Owner]:
        """Return a workflow of which nobody else changes owner or shares before the commit, and whom it is about.

        Whoever changes either locks the person or team first, then the workflow, and only then may look at what there is.
        """
        require_workflow(self.session, self.caller, workflow_id, role)
        grantee = self._grantee(wanted)
        return require_workflow(self.session, self.caller, workflow_id, role, hold=True), grantee

    def _grantee(self, wanted: Grantee) -> Owner:
        if wanted.user is not None:
            users = select(User.id).where(User.email == wanted.user)
            held = users.with_for_update(key_share=True)
            grantee_id, unknown = self.session.exec(held).first(), wanted.user
        else:
            grantee_id, unknown = self._team_id(wanted.team or ""), f"team {wanted.team}"
        if grantee_id is None:
            raise NotFound(f"There is no {unknown} to share it with.")
        return owner_of(self.session, grantee_id)

    def _team_id(self, team: str) -> str | None:
        named = select(TeamName.team_id).where(TeamName.name == team_key(team))
        team_id = parse_id(team) or self.session.exec(named).first()
        there_is = select(Team.id).where(Team.id == team_id, col(Team.deleted_at).is_(None))
        return self.session.exec(there_is.with_for_update(key_share=True)).first()

    def _require_room(self, workflow: Workflow, grantee: Owner) -> None:
        count = select(func.count())
        of_it = count.where(col(WorkflowShare.workflow_id) == workflow.id)
        if self.session.exec(of_it).one() >= MAX_SHARES:
            raise Conflict(f"The workflow is shared {MAX_SHARES} times: give it to a team.")
        with_them = count.where(col(WorkflowShare.grantee_id) == grantee.id)
        if self.session.exec(with_them).one() >= MAX_GRANTED:
            raise Conflict(
                f"{MAX_GRANTED} workflows are shared with {grantee.name}: let a team own them."
            )

    def _record(self, action: str, workflow: Workflow, grantee: Owner, role: TeamRole) -> None:
        details = {**asdict(grantee), "role": role}
        change = Change(action, "workflow", workflow.id, workflow.owner_id, details)
        record(self.session, self.caller, change)


def _form(share: WorkflowShare, grantee: Owner) -> ShareForm:
    return ShareForm(
        grantee=OwnerForm(**asdict(grantee)), role=share.role, created_at=share.created_at
    )
