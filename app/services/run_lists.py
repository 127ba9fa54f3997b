"""The newest runs that a caller may see: walks along indexes, one for each owner and each shared workflow.

One condition that names all of them would say the same, but planners then read the whole history, newest first, until
enough runs have come by.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import cast, column, func, true
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import PermissionDenied
from app.core.permissions import TeamRole
from app.core.statuses import RunStatus, TriggerKind
from app.db.types import Id
from app.models import Run, Workflow
from app.services.access import owner_role, refusal, role_on, shared_roles
from app.services.callers import Caller
from app.services.owners import owner_of

Narrow = Callable[[SelectOfScalar[str]], SelectOfScalar[str]]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None leaves a field open."""

    workflow_id: str | None = None
    status: RunStatus | None = None
    trigger: TriggerKind | None = None
    since: datetime | None = None

    def narrow(self, query: SelectOfScalar[Any]) -> SelectOfScalar[Any]:
        """Return a query of runs with these conditions."""
        if self.workflow_id is not None:
            query = query.where(col(Run.workflow_id) == self.workflow_id)
        if self.status is not None:
            query = query.where(col(Run.status) == self.status)
        if self.trigger is not None:
            query = query.where(col(Run.trigger_kind) == self.trigger)
        if self.since is not None:
            query = query.where(col(Run.created_at) >= self.since)
        return query


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose runs, and the runs of which workflows whoever owns them."""

    owner_ids: Sequence[str]
    workflow_ids: Sequence[str] = ()

    def newest(self, session: Session, narrow: Narrow, limit: int) -> Sequence[str]:
        """Return the ids of the newest runs among these, newest first; `narrow` adds conditions."""
        walk = _walk_on_postgres if session.get_bind().dialect.name == "postgresql" else _walk
        found: set[str] = set()
        for place, ids in ((Run.owner_id, self.owner_ids), (Run.workflow_id, self.workflow_ids)):
            if ids:
                found.update(walk(session, place, ids, narrow, limit))
        return sorted(found, reverse=True)[:limit]


def reach_of(session: Session, caller: Caller, role: TeamRole) -> Reach:
    """Return the runs on which a caller has at least this role."""
    owners = [id_ for id_ in caller.owners if _may(owner_role(caller, id_), role)]
    shared = shared_roles(session, caller)
    return Reach(owners, [id_ for id_, has in shared.items() if has.includes(role)])


def reach_within(session: Session, caller: Caller, workflow_id: str, role: TeamRole) -> Reach:
    """Return the runs of one workflow on which a caller has at least this role; it may be deleted.

    Of one that has gone over to another owner, the former one sees the runs that were theirs.

    Raises:
        PermissionDenied: they have another role on the workflow.
    """
    workflow = session.get(Workflow, workflow_id)
    has = None if workflow is None else role_on(session, caller, workflow)
    if workflow is None or has is None:
        return Reach([id_ for id_ in caller.owners if _may(owner_role(caller, id_), role)])
    if not has.includes(role):
        giver = owner_of(session, workflow.owner_id).who_gives_roles
        raise PermissionDenied(refusal(role, has, giver))
    return Reach((), [workflow_id])


def _may(has: TeamRole | None, role: TeamRole) -> bool:
    return has is not None and has.includes(role)


def _walk(
    session: Session, place: Any, ids: Sequence[str], narrow: Narrow, limit: int
) -> Iterator[str]:
    """Yield the newest of each id, with those of another among them."""
    for id_ in ids:
        query = narrow(select(Run.id).where(place == id_))
        yield from session.exec(query.order_by(col(Run.id).desc()).limit(limit))


def _walk_on_postgres(
    session: Session, place: Any, ids: Sequence[str], narrow: Narrow, limit: int
) -> Sequence[str]:
    """Return the newest of each id, in one statement however many there are."""
    given = cast(list(ids), ARRAY(UUID(as_uuid=False)))
    each = func.unnest(given).table_valued(column("id", Id())).render_derived(name="each")
    query = narrow(select(Run.id).where(place == each.c.id))
    newest = query.order_by(col(Run.id).desc()).limit(limit).lateral()
    among = select(newest.c.id).select_from(each).join(newest, true())
    return session.scalars(among.order_by(newest.c.id.desc()).limit(limit)).all()
