"""What a process knows of the policies: a snapshot, never older than a second when it counts."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from app.engine.guards import policy_store as store
from app.engine.guards.budgets import BudgetBook
from app.engine.guards.caps import policy_of
from app.engine.guards.policies import Level, Policy
from app.engine.guards.rules import PolicyRules

REFRESH_SECONDS = 0.8
MAX_LAYERS = 50_000
"""Of combinations of owner and workflow that are kept worked out."""
Place = tuple[str, str]
"""Level and target of a policy."""
Queued = tuple[float, Mapping[str, int]]
"""When the runs of an owner in the queue were counted (monotonic), and how many there are, by workflow."""
NEVER: Final[Queued] = (float("-inf"), {})


@dataclass(frozen=True, slots=True)
class Layers:
    """The policies that hold for the runs of one workflow, those of the platform first, by what they have a say in."""

    all: tuple[Policy, ...]
    at_intake: tuple[Policy, ...]
    at_steps: tuple[Policy, ...]
    at_claims: tuple[Policy, ...]


class Policies:
    """All policies, as they stood at one moment."""

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        self._platform: tuple[Policy, ...] = ()
        self._by_target: dict[tuple[Level, str], Policy] = {}
        for policy in policies:
            if policy.level is Level.PLATFORM:
                self._platform = (policy,)
            else:
                self._by_target[policy.level, policy.target] = policy
        self._layers: dict[tuple[str, str], Layers] = {}
        self.all = (*self._platform, *self._by_target.values())
        self.caps_concurrency = any(_at_claims(policy.rules) for policy in self.all)

    def of(self, owner_id: str, workflow_id: str) -> Layers:
        """Return what holds for a workflow of an owner, who may be a team."""
        key = owner_id, workflow_id
        found = self._layers.get(key)
        if found is None:
            if len(self._layers) >= MAX_LAYERS:
                self._layers.clear()
            found = self._layers[key] = self._work_out(owner_id, workflow_id)
        return found

    def _work_out(self, owner_id: str, workflow_id: str) -> Layers:
        own = ((Level.TEAM, owner_id), (Level.WORKFLOW, workflow_id))
        policies = (
            *self._platform,
            *(self._by_target[key] for key in own if key in self._by_target),
        )
        return Layers(
            policies,
            tuple(one for one in policies if _at_intake(one.rules)),
            tuple(one for one in policies if _at_steps(one.rules)),
            tuple(one for one in policies if _at_claims(one.rules)),
        )


class PolicyBook:
    """The newest snapshot of one database, and what is known of its budgets. Several threads may ask."""

    def __init__(self) -> None:
        self.latest = Policies()
        self.budgets = BudgetBook()
        self.queued: dict[str, Queued] = {}
        """By owner."""
        self._version: tuple[int, int] | None = None
        self._policies: dict[Place, Policy] = {}
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    def current(self, connection: Connection) -> Policies:
        """Return the policies, read again with this connection when that was not done just now."""
        if time.monotonic() - self._read_at >= REFRESH_SECONDS:
            self.refresh(connection)
        return self.latest

    def refresh(self, connection: Connection) -> None:
        """Look whether policies have changed, and read them if so."""
        with self._reading:
            asked = time.monotonic()
            (row,) = store.VERSION.run(connection)
            version = int(row.policies), int(row.revisions)
            if version != self._version:
                self._policies = _reloaded(connection, self._policies)
                self.latest = Policies(self._policies.values())
                self._version = version
            self._read_at = asked


def _reloaded(connection: Connection, known: Mapping[Place, Policy]) -> dict[Place, Policy]:
    """Return all policies. Only those that have changed are read: others' policies, however large, cost nobody time."""
    revisions = {
        (row.level, row.target_id): row.revision for row in store.LIST_REVISIONS.run(connection)
    }
    found = {
        place: known[place]
        for place, revision in revisions.items()
        if place in known and known[place].revision == revision
    }
    wanted = [{"level": level, "target_id": target} for level, target in revisions.keys() - found]
    for row in store.LOAD_POLICIES.run(connection, wanted) if wanted else ():
        level = Level(row.level)
        found[level, row.target_id] = policy_of(level, row.target_id, row.revision, row.rules)
    return found


_books: WeakKeyDictionary[Engine, PolicyBook] = WeakKeyDictionary()
_opening = threading.Lock()


def book_of(engine: Engine) -> PolicyBook:
    """Return what this process knows of the policies in a database.

    Whoever makes a run passes the intake, and has a connection: so no way to start one can forget to ask.
    """
    with _opening:
        found = _books.get(engine)
        if found is None:
            found = _books[engine] = PolicyBook()
        return found


def _at_intake(rules: PolicyRules) -> bool:
    return bool(rules.max_runs) or bool(rules.max_input_bytes or rules.max_queued_runs)


def _at_steps(rules: PolicyRules) -> bool:
    types, hosts = rules.node_types, rules.hosts
    return (
        types.allowed is not None
        or hosts.allowed is not None
        or bool(types.denied or hosts.denied or rules.budgets)
        or rules.max_output_bytes is not None
        or rules.needs_approval is not None
    )


def _at_claims(rules: PolicyRules) -> bool:
    return rules.max_concurrent_runs is not None
