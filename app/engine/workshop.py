"""What a worker process carries runs out with."""

from dataclasses import dataclass

import httpx

from app.core.clock import Clock
from app.engine.children.targets import Targets
from app.engine.claims import Claims
from app.engine.guards.gate import Gate
from app.engine.guards.policy_book import PolicyBook
from app.engine.isolation.pool import ChildPool
from app.engine.journal import Journal
from app.engine.lease import Lease
from app.engine.outputs import Outputs
from app.engine.registry import Catalogue
from app.engine.slots import Slots


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the orchestrator works with."""

    catalogue: Catalogue
    claims: Claims
    journal: Journal
    lease: Lease
    slots: Slots
    http: httpx.AsyncClient
    children: ChildPool
    outputs: Outputs
    clock: Clock
    max_output_bytes: int
    targets: Targets
    gate: Gate
    policies: PolicyBook
