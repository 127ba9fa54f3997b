"""The parsed form of a definition: a frozen graph of steps and edges. Everything behind the parser knows it alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from app.engine.language.expression_places import Path
from app.engine.language.expressions import Expression, Template

ANY_PORT: Final = "*"
"""The port of an edge that is taken when its source is done, whichever port it chose."""
FAILED: Final = "failed"
"""The port of an error branch: taken when the source has failed for good."""
ALWAYS: Final = "always"
"""The port of an edge that is taken when the source is done and when it has failed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried, and how long to wait in between (seconds)."""

    max_attempts: int = 1
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    multiplier: float = 2.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Loop:
    """What makes a step a loop over its body: over `items`, or as long as `condition` holds."""

    body: "Plan"
    items: Expression | None
    condition: Expression | None
    stop_when: Expression | None
    concurrency: int
    max_iterations: int
    keep_going: bool
    """Whether an iteration that failed leaves null in the output instead of failing the loop."""


@dataclass(frozen=True, slots=True)
class Step:
    """One place in the definition. `expressions` are the places in its config that hold a bare expression."""

    id: str
    type: str
    config: Template
    expressions: Mapping[Path, Expression]
    retry: RetryPolicy
    timeout_seconds: float
    ports: tuple[str, ...] = ()
    join: Literal["all", "any"] = "all"
    when: Expression | None = None
    continue_on_error: bool = False
    loop: Loop | None = None
    given_timeout_seconds: float | None = None
    """The time-out if the definition itself gives one: a step that waits for a run is limited by it, too."""
    late_schemas: tuple[str, ...] = ()
    """Fields of its config that hold a JSON Schema with expressions in it: they are checked in the run."""
    credential: str | None = None
    """The credential that its config names, if that is written out and no expression."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The way from a port of one step to another step, taken if its condition (when it has one) holds as well."""

    source: str
    port: str
    target: str
    condition: Expression | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Plan:
    """A definition, checked. `steps` are in an order in which every step stands after those it depends on."""

    steps: Mapping[str, Step]
    edges: tuple[Edge, ...]
    """The edges that lead onward: without those that lead back there is no cycle."""
    back: tuple[Edge, ...] = ()
    """The edges that lead back to a step before."""
    inputs: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None

    @cached_property
    def outgoing(self) -> Mapping[str, tuple[Edge, ...]]:
        """Return the edges that leave each step."""
        edges: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            edges[edge.source].append(edge)
        return {step: tuple(edges[step]) for step in self.steps}

    @cached_property
    def ports_in_use(self) -> Mapping[str, frozenset[str]]:
        """Return the ports of each step from which an edge leads on, or back, by name."""
        return {
            step: frozenset(edge.port for edge in (*self.outgoing[step], *self.leading_back[step]))
            for step in self.steps
        }

    @cached_property
    def indegree(self) -> Mapping[str, int]:
        """Return how many edges lead into each step."""
        counts = dict.fromkeys(self.steps, 0)
        for edge in self.edges:
            counts[edge.target] += 1
        return counts

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """Return the steps from which an edge leads into each step, in the order of the plan."""
        found: dict[str, dict[str, None]] = {step: {} for step in self.steps}
        for source, edges in self.outgoing.items():
            for edge in edges:
                found[edge.target][source] = None
        return {step: tuple(sources) for step, sources in found.items()}

    @cached_property
    def leading_back(self) -> Mapping[str, tuple[Edge, ...]]:
        """Return the edges that lead back from each step."""
        return {
            step: tuple(edge for edge in self.back if edge.source == step) for step in self.steps
        }

    @cached_property
    def regions(self) -> Mapping[Edge, frozenset[str]]:
        """Return, for each edge that leads back, the steps that it begins anew.

        They are those on the ways from its target to its source, and those of the cycles that begin there: an agent and
        its tools, each of which leads back to it, are one cycle.
        """
        regions = {target: self._region(target) for target in {edge.target for edge in self.back}}
        return {edge: regions[edge.target] for edge in self.back}

    def _region(self, target: str) -> frozenset[str]:
        after, region = self._after(target), frozenset({target})
        while sources := {edge.source for edge in self.back if edge.target in region} - region:
            region |= after & frozenset().union(*map(self._before, sources))
        return region

    def _after(self, step: str) -> frozenset[str]:
        return _reach(
            step, {name: [edge.target for edge in edges] for name, edges in self.outgoing.items()}
        )

    def _before(self, step: str) -> frozenset[str]:
        return _reach(step, self.sources)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Return the steps that no edge leads into: they start at once."""
        return tuple(step for step, count in self.indegree.items() if count == 0)

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Return the steps that no edge leaves; a step whose only way leads back ends nothing."""
        return tuple(
            step
            for step, edges in self.outgoing.items()
            if not edges and not self.leading_back[step]
        )


def _reach(start: str, following: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found, front = {start}, [start]
    while front:
        fresh = [step for step in following[front.pop()] if step not in found]
        found.update(fresh)
        front += fresh
    return frozenset(found)
