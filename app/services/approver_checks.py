"""Teams and roles that definitions name as approvers: those that there are not could never decide."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session, col, select

from app.core.errors import Problem
from app.core.statuses import Role
from app.engine.approvals.rules import ROLE, TEAM
from app.models import Team, TeamName
from app.schemas.team import team_key

APPROVALS: Final = frozenset({"approval", "wait_for_approval"})
FIELDS: Final = ("approvers", "escalate_to")
EXPRESSION: Final = "${{"

Groups = Sequence[tuple[str, str]]


def approver_problems(session: Session, definition: Any) -> Sequence[Problem]:
    """Return which approvers of a definition are teams or roles that there are not."""
    groups = [*_groups(definition, "/definition")]
    return [*_unknown_roles(groups), *_unknown_teams(session, groups)]


def _unknown_roles(groups: Groups) -> Iterator[Problem]:
    for at, name in groups:
        role = name.removeprefix(ROLE)
        if name.startswith(ROLE) and role not in set(Role):
            detail = f"There is no role {role!r}: write one of {', '.join(ROLE + each for each in Role)}."
            yield Problem(at, "unknown_role", detail)


def _unknown_teams(session: Session, groups: Groups) -> Sequence[Problem]:
    named = [
        (at, team_key(name.removeprefix(TEAM))) for at, name in groups if name.startswith(TEAM)
    ]
    if not named:
        return []
    query = (
        select(TeamName.name)
        .join(Team, col(Team.id) == TeamName.team_id)
        .where(col(TeamName.name).in_({key for _, key in named}), col(Team.deleted_at).is_(None))
    )
    known = set(session.exec(query).all())
    return [
        Problem(at, "unknown_team", f"There is no team {key}: make it, or name another one.")
        for at, key in named
        if key not in known
    ]


def _groups(level: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield where a level of steps names teams and roles as they are; those of expressions are known in a run only."""
    if not isinstance(level, Mapping):
        return
    for surface in ("steps", "nodes"):
        for place, step in _listed(level.get(surface), f"{at}/{surface}"):
            if isinstance(step, Mapping) and step.get("type") in APPROVALS:
                yield from _approvers(step.get("config"), f"{place}/config")
            yield from _groups(step, place)


def _approvers(config: Any, at: str) -> Iterator[tuple[str, str]]:
    for field in FIELDS if isinstance(config, Mapping) else ():
        for place, text in _listed(config.get(field), f"{at}/{field}"):
            if isinstance(text, str) and EXPRESSION not in text:
                yield place, text.strip()


def _listed(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        yield f"{at}/{number}", item
