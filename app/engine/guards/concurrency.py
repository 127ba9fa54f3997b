"""Caps on concurrent runs: further ones wait in the queue, and those that have waited longest go first.

A run is concurrent while a worker holds it; one that waits for a time, an event or people is not. Who claims runs under a
cap holds its policy until the commit, so that of several workers one counts at a time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row

from app.engine.guards import policy_store as store
from app.engine.guards.policies import Level, Policy
from app.engine.guards.policy_book import Policies

HELD_BACK: Final = timedelta(seconds=60)
"""After so long a run without room is looked at again, should nobody have called it by then."""
MAX_CALLED: Final = 200
"""How many of a queue are looked at for the places that are free."""
Scope = tuple[str, str]
"""An owner and a workflow."""


def within_caps(
    connection: Connection, policies: Policies, run_ids: Sequence[str], now: datetime
) -> Mapping[str, str]:
    """Return the runs to claim, each with the one of `run_ids` whose slot it takes.

    Where a cap holds, those are not the runs that were asked for, but as many that have waited longest; the others stay in
    the queue.
    """
    if not policies.caps_concurrency:
        return {run_id: run_id for run_id in run_ids}
    rows = store.LOAD_SCOPES.run(connection, [{"id": run_id} for run_id in run_ids])
    wanted = {row.id: row.id for row in rows}
    capped = [row for row in rows if policies.of(row.owner_id, row.workflow_id).at_claims]
    if not capped:
        return wanted
    room = _Room.counted(connection, policies, capped)
    for row in capped:
        del wanted[row.id]
    for owner_id in sorted({row.owner_id for row in capped}):
        asked = sorted(row.id for row in capped if row.owner_id == owner_id)
        chosen = room.choose(_candidates(connection, policies, owner_id, capped), len(asked))
        wanted |= dict(zip(chosen, asked, strict=False))
    _hold_back(connection, [row.id for row in capped if row.id not in wanted], now)
    return wanted


def next_in_line(
    connection: Connection, policies: Policies, scopes: Iterable[Scope]
) -> Sequence[str]:
    """Return the runs for which there is room now, of those that wait in the queues of these owners and workflows."""
    capped = sorted({scope for scope in scopes if policies.of(*scope).at_claims})
    if not capped:
        return ()
    room = _Room(_held(connection), policies)
    found: dict[str, None] = {}
    for owner_id, workflow_id in capped:
        rows = _oldest(connection, owner_id, workflow_id)
        found |= dict.fromkeys(room.choose(rows, MAX_CALLED))
    return tuple(found)


def queued_scopes(connection: Connection) -> Sequence[Scope]:
    """Return whose runs, and of which workflows, are in the queue."""
    return [(row.owner_id, row.workflow_id) for row in store.QUEUED_SCOPES.run(connection)]


@dataclass(slots=True)
class _Room:
    """How many runs workers hold, by owner and by workflow, and what policies say to more."""

    held: Counter[str]
    policies: Policies
    chosen: set[str] = field(default_factory=set)

    @classmethod
    def counted(
        cls, connection: Connection, policies: Policies, rows: Sequence[Row[Any]]
    ) -> "_Room":
        """Count, once nobody else can claim under the same caps."""
        found = {
            (policy.level.value, policy.target)
            for row in rows
            for policy in policies.of(row.owner_id, row.workflow_id).at_claims
        }
        keys = [{"level": level, "target_id": target} for level, target in sorted(found)]
        store.HOLD.run(connection, keys)
        return cls(_held(connection), policies)

    def choose(self, rows: Sequence[Row[Any]], most: int) -> list[str]:
        """Return the first of the runs for which there is room, and take it."""
        chosen: list[str] = []
        for row in sorted(rows, key=lambda row: row.id):
            if len(chosen) == most:
                break
            if row.id not in self.chosen and self._has_room(row):
                chosen.append(row.id)
                self.chosen.add(row.id)
                self.held[row.owner_id] += 1
                self.held[row.workflow_id] += 1
        return chosen

    def _has_room(self, row: Row[Any]) -> bool:
        return all(
            self.held[_counted(policy, row)] < (policy.rules.max_concurrent_runs or 0)
            for policy in self.policies.of(row.owner_id, row.workflow_id).at_claims
        )


def _candidates(
    connection: Connection, policies: Policies, owner_id: str, capped: Sequence[Row[Any]]
) -> Sequence[Row[Any]]:
    """Return the runs asked for, and those of the same owner and workflows that have waited longest."""
    asked = [row for row in capped if row.owner_id == owner_id]
    workflows = sorted({row.workflow_id for row in asked})
    found = {row.id: row for row in asked}
    for workflow_id in workflows:
        found |= {row.id: row for row in _oldest(connection, owner_id, workflow_id)}
    if any(
        _counts_all(policy)
        for row in asked
        for policy in policies.of(owner_id, row.workflow_id).at_claims
    ):
        rows = store.OLDEST_QUEUED.run(connection, owner_id=owner_id, batch=MAX_CALLED)
        found |= {row.id: row for row in rows}
    return list(found.values())


def _oldest(connection: Connection, owner_id: str, workflow_id: str) -> Sequence[Row[Any]]:
    return store.OLDEST_QUEUED_OF_WORKFLOW.run(
        connection, owner_id=owner_id, workflow_id=workflow_id, batch=MAX_CALLED
    )


def _held(connection: Connection) -> Counter[str]:
    held: Counter[str] = Counter()
    for row in store.COUNT_HELD.run(connection):
        held[row.owner_id] += row.held
        held[row.workflow_id] += row.held
    return held


def _hold_back(connection: Connection, run_ids: Sequence[str], now: datetime) -> None:
    if run_ids:
        rows = [{"id": run_id} for run_id in run_ids]
        store.HOLD_BACK.run(connection, rows, again=now + HELD_BACK)


def _counts_all(policy: Policy) -> bool:
    return policy.level is not Level.WORKFLOW


def _counted(policy: Policy, row: Row[Any]) -> str:
    workflow_id: str = row.workflow_id
    owner_id: str = row.owner_id
    return workflow_id if policy.level is Level.WORKFLOW else owner_id
