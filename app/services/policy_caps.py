"""How much a policy below the platform's may ask to be counted: every worker sums every budget, every trigger its windows."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import or_
from sqlmodel import Session, col, select

from app.core.errors import InvalidInput, Problem
from app.db.session import before_commit
from app.db.tenancy import release
from app.engine.guards.caps import MAX_BUDGETS, MAX_WINDOW_SECONDS, MAX_WINDOWS
from app.engine.guards.policies import Level
from app.engine.guards.rules import PolicyRules
from app.models import Policy, PolicyRevision

MAX_BUDGETS_OF_A_PERSON: Final = 200
"""In all policies of teams and workflows that one person was the last to save."""
TOO_MANY: Final = "too_many"
Place = tuple[Level, str]


def require_within(session: Session, place: Place, rules: PolicyRules, email: str) -> None:
    """Do nothing when a policy may be saved by somebody as far as counting goes; the platform's always may.

    Raises:
        InvalidInput: it has too many windows or budgets, or too long ones; every problem at once.
    """
    if place[0] is Level.PLATFORM:
        return
    problems = [*_problems(rules)]
    if rules.budgets:
        most = MAX_BUDGETS_OF_A_PERSON
        if _budgets_elsewhere(session, place, email) + len(rules.budgets) > most:
            detail = f"The policies of teams and workflows that you have saved would hold more than {most} budgets: take some out."
            problems.append(Problem("/budgets", TOO_MANY, detail))
    if problems:
        raise InvalidInput("The policy asks for too much: mend what `errors` lists.", problems)


def forget_budgets(session: Session, place: Place, email: str, now: datetime) -> None:
    """Take the budgets out of a policy at the end of the transaction that deletes what it holds for: nobody sums them again."""

    def forget(session: Session) -> None:
        release(session)  # policies are nobody's rows: a tenant reads them only
        row = session.get(Policy, place, with_for_update=True)
        if row is None or "budgets" not in row.rules:
            return
        row.rules = {name: rule for name, rule in row.rules.items() if name != "budgets"}
        row.revision, row.updated_at, row.updated_by = row.revision + 1, now, email
        session.add(row)
        session.add(PolicyRevision(**row.model_dump()))
        session.flush()

    before_commit(session, forget)


def _problems(rules: PolicyRules) -> Iterator[Problem]:
    below = "in a policy of a team or workflow"
    if len(rules.max_runs) > MAX_WINDOWS:
        detail = f"There may be {MAX_WINDOWS} windows at most {below}: leave some out."
        yield Problem("/max_runs", TOO_MANY, detail)
    if len(rules.budgets) > MAX_BUDGETS:
        detail = f"There may be {MAX_BUDGETS} budgets at most {below}: leave some out."
        yield Problem("/budgets", TOO_MANY, detail)
    for number, limit in enumerate(rules.max_runs):
        if limit.window_seconds > MAX_WINDOW_SECONDS:
            days = MAX_WINDOW_SECONDS // 86_400
            detail = f"May be {MAX_WINDOW_SECONDS} ({days} days) at most {below}."
            yield Problem(f"/max_runs/{number}/window_seconds", "window_too_long", detail)


def _budgets_elsewhere(session: Session, place: Place, email: str) -> int:
    level, target = place
    budgets: Any = col(Policy.rules)["budgets"]
    query = select(Policy.rules).where(
        Policy.level != Level.PLATFORM,
        or_(col(Policy.level) != level, col(Policy.target_id) != target),
        Policy.updated_by == email,
        budgets.as_string().is_not(None),
    )
    return sum(len(rules["budgets"]) for rules in session.exec(query))
