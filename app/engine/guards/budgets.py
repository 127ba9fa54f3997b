"""What was spent of budgets: told by nodes, written with their attempts' results, summed for the next steps."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from app.engine.guards import policy_store as store
from app.engine.guards.policies import Level, Policy
from app.engine.guards.rules import Budget

USED_UP: Final = "budget_used_up"
EARLIEST: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
FORGET_SECONDS: Final = 60.0
"""After so long, what was told but is not known to be written never will be: its run was taken over by another worker."""
BudgetKey = tuple[str, str, int | None]
"""Of which policy, the name, and the window."""
SpendKey = tuple[str, str, int, str]
"""Which attempt at which step, and the name."""


@dataclass(slots=True)
class _Told:
    """What an attempt of this process has spent: in no sum until it is found in the database."""

    amount: float
    name: str
    owner_id: str
    workflow_id: str
    told_at: float


@dataclass(frozen=True, slots=True)
class Spender:
    """An attempt that may spend."""

    run_id: str
    path: str
    attempt: int
    owner_id: str
    workflow_id: str


class BudgetBook:
    """How much of each budget is used up: the last sums of the database, and what this process knows besides."""

    def __init__(self) -> None:
        self._sums: Mapping[BudgetKey, float] = {}
        self._told: dict[SpendKey, _Told] = {}
        self._changing = threading.Lock()

    def refusal(self, policies: Sequence[Policy], name: str) -> str | None:
        """Return why nothing more may be spent of what has this name; None while something is left."""
        for policy in policies:
            for budget in policy.rules.budgets:
                if budget.name == name and self._spent(policy, budget) >= budget.limit:
                    window = budget.window_seconds
                    during = "" if window is None else f" in {window:,} seconds"
                    return policy.refusal(
                        f"lets {budget.limit:g} be spent of the budget {name!r}{during}, and that is used up"
                    )
        return None

    def tell(self, spender: Spender, name: str, amount: float) -> None:
        """Take note of what an attempt has spent, before it is written."""
        key = spender.run_id, spender.path, spender.attempt, name
        with self._changing:
            before = self._told[key].amount if key in self._told else 0.0
            self._told[key] = _Told(
                before + amount, name, spender.owner_id, spender.workflow_id, time.monotonic()
            )

    def write(
        self, connection: Connection, spent: Sequence[tuple[Spender, Mapping[str, Any]]]
    ) -> None:
        """Write down what attempts have spent, in the transaction of their results: each attempt once."""
        rows: dict[SpendKey, dict[str, Any]] = {}
        for spender, data in spent:
            key = spender.run_id, spender.path, spender.attempt, data["name"]
            if key in rows:
                rows[key]["amount"] += data["amount"]
            else:
                rows[key] = _spend_row(spender, data)
        # In one order everywhere: two transactions with the same rows must not wait for each other.
        store.SPEND.run(connection, [rows[key] for key in sorted(rows)])

    def refresh(self, connection: Connection, policies: Sequence[Policy], now: datetime) -> None:
        """Ask the database for the sums, if there are budgets."""
        asked = time.monotonic()
        committed = self._committed(connection)  # first: what it finds is in the sums
        budgets = [
            (policy, budget)
            for policy in policies
            for budget in policy.rules.budgets
            if budget.limit > 0  # of others nothing may be spent, whatever was
        ]
        rows = [_row(n, policy, budget, now) for n, (policy, budget) in enumerate(budgets)]
        found = store.SUM_SPENT.run(connection, rows) if rows else ()
        with self._changing:
            self._sums = {_key(*budgets[row.n]): row.spent or 0.0 for row in found}
            self._told = {
                key: one
                for key, one in self._told.items()
                if key not in committed and asked - one.told_at <= FORGET_SECONDS
            }

    def _committed(self, connection: Connection) -> set[SpendKey]:
        """Return what this process was told that is in the database."""
        with self._changing:
            keys = [*self._told]
        rows = [
            {"n": n, "run_id": run_id, "path": path, "attempt": attempt, "name": name}
            for n, (run_id, path, attempt, name) in enumerate(keys)
        ]
        return {keys[row.n] for row in store.FIND_SPENT.run(connection, rows)} if rows else set()

    def _spent(self, policy: Policy, budget: Budget) -> float:
        with self._changing:
            told = sum(
                one.amount
                for one in self._told.values()
                if one.name == budget.name and _counts(policy, one)
            )
            return self._sums.get(_key(policy, budget), 0.0) + told


def _spend_row(spender: Spender, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of `budget_spend` for what an attempt says that it has spent."""
    return {
        "run_id": spender.run_id,
        "path": spender.path,
        "attempt": spender.attempt,
        "owner_id": spender.owner_id,
        "workflow_id": spender.workflow_id,
        **{name: data[name] for name in ("name", "amount", "unit", "at")},
    }


def _key(policy: Policy, budget: Budget) -> BudgetKey:
    return policy.key, budget.name, budget.window_seconds


def _row(n: int, policy: Policy, budget: Budget, now: datetime) -> dict[str, Any]:
    window = budget.window_seconds
    return {
        "n": n,
        "level": policy.level.value,
        "target_id": policy.target,
        "name": budget.name,
        "since": EARLIEST if window is None else now - timedelta(seconds=window),
    }


def _counts(policy: Policy, told: _Told) -> bool:
    match policy.level:
        case Level.PLATFORM:
            return True
        case Level.TEAM:
            return told.owner_id == policy.target
        case Level.WORKFLOW:
            return told.workflow_id == policy.target
