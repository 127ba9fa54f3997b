"""Which workflows a list holds."""

from dataclasses import dataclass

from sqlalchemy import and_, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.permissions import TeamRole
from app.models import Workflow
from app.services.access import require_team, shared_roles
from app.services.callers import Caller


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """Those of one team; only those that others share with the caller, or all but those. None leaves a field open."""

    team: str | None = None
    shared: bool | None = None

    def query(self, session: Session, caller: Caller) -> SelectOfScalar[Workflow]:
        """Return the query of those that the caller may see.

        Raises:
            NotFound: there is no such team, or the caller is not in it.
        """
        owned = col(Workflow.owner_id).in_(caller.owners)
        shared = col(Workflow.id).in_(shared_roles(session, caller))
        among = {None: or_(owned, shared), True: and_(~owned, shared), False: owned}
        query = select(Workflow).where(among[self.shared], col(Workflow.deleted_at).is_(None))
        if self.team is not None:
            team = require_team(session, caller, self.team, TeamRole.VIEWER)
            query = query.where(Workflow.owner_id == team.id)
        return query
