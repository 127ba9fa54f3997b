"""How much a policy below the platform's may ask to be counted: every trigger counts its windows, every worker its budgets.

What is saved is held to it. What was saved before there were such caps, or by another version, is taken for what may be
counted, and never for less strict than it can be: a guard that costs too much is not one that is gone. Pure.
"""

from typing import Any, Final

from app.engine.guards.policies import Level, Policy
from app.engine.guards.rules import Budget, PolicyRules, RunLimit

MAX_WINDOWS: Final = 5
MAX_WINDOW_SECONDS: Final = 31 * 86_400
MAX_BUDGETS: Final = 10


def rules_of(level: Level, stored: Any) -> PolicyRules:
    """Return what counts of a policy as it is stored; all of the platform's."""
    rules = PolicyRules.model_validate(stored)
    if level is Level.PLATFORM:
        return rules
    windows, budgets = _windows(rules.max_runs), _budgets(rules.budgets)
    return rules.model_copy(update={"max_runs": windows, "budgets": budgets})


def policy_of(level: Level, target: str, revision: int, stored: Any) -> Policy:
    """Return a policy as it counts."""
    return Policy(level, target, revision, rules_of(level, stored))


def _windows(limits: list[RunLimit]) -> list[RunLimit]:
    """Return short windows, those that let the fewest runs be started in the long run when there are too many."""
    short = [_short(limit) for limit in limits]
    if len(short) <= MAX_WINDOWS:
        return short
    return sorted(short, key=lambda limit: limit.count / limit.window_seconds)[:MAX_WINDOWS]


def _short(limit: RunLimit) -> RunLimit:
    """Return a window that is not too long, with its share of the runs."""
    if limit.window_seconds <= MAX_WINDOW_SECONDS:
        return limit
    share = max(1, limit.count * MAX_WINDOW_SECONDS // limit.window_seconds)
    return RunLimit(count=share, window_seconds=MAX_WINDOW_SECONDS)


def _budgets(budgets: list[Budget]) -> list[Budget]:
    """Return budgets of which the first ones are counted; of the others nothing may be spent, which needs no counting."""
    over = (budget.model_copy(update={"limit": 0.0}) for budget in budgets[MAX_BUDGETS:])
    return [*budgets[:MAX_BUDGETS], *over]
