"""Teams that definitions name as approvers: one that there is not could never decide."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session, col, select

from app.core.errors import Problem
from app.engine.approvals.rules import TEAM
from app.models import Team, TeamName
from app.schemas.team import team_key

APPROVALS: Final = frozenset({"approval", "wait_for_approval"})
FIELDS: Final = ("approvers", "escalate_to")


def approver_problems(session: Session, definition: Any) -> Sequence[Problem]:
    """Return which approvers of a definition are teams that there are not."""
    named = [*_teams(definition, "/definition")]
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


def _teams(level: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield where a level of steps names teams, and how they are compared."""
    if not isinstance(level, Mapping):
        return
    for surface in ("steps", "nodes"):
        for place, step in _listed(level.get(surface), f"{at}/{surface}"):
            if isinstance(step, Mapping) and step.get("type") in APPROVALS:
                yield from _approvers(step.get("config"), f"{place}/config")
            yield from _teams(step, place)


def _approvers(config: Any, at: str) -> Iterator[tuple[str, str]]:
    for field in FIELDS if isinstance(config, Mapping) else ():
        for place, text in _listed(config.get(field), f"{at}/{field}"):
            if isinstance(text, str) and text.strip().startswith(TEAM):
                yield place, team_key(text.strip().removeprefix(TEAM))


def _listed(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        yield f"{at}/{number}", item
