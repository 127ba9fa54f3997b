"""The parsed form of a definition: a frozen graph of steps and edges. Everything behind the parser knows it alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.engine.language.expressions import Expression, Template


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried, and how long to wait in between (seconds)."""

    max_attempts: int = 1
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    multiplier: float = 2.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One place in the definition. `expressions` are the config fields that hold a bare expression."""

    id: str
    type: str
    config: Template
    expressions: Mapping[str, Expression]
    retry: RetryPolicy
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Edge:
    """The way from a port of one step to another step."""

    source: str
    port: str
    target: str


@dataclass(frozen=True)
class Plan:
    """A definition, checked. `steps` are in an order in which every step stands after those it depends on."""

    steps: Mapping[str, Step]
    edges: tuple[Edge, ...]
    inputs: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Edge, ...]]:
        """Return the edges into each step."""
        return {
            step: tuple(edge for edge in self.edges if edge.target == step) for step in self.steps
        }

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Return the steps that no edge leaves."""
        sources = {edge.source for edge in self.edges}
        return tuple(step for step in self.steps if step not in sources)
