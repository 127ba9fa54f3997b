"""Cycles in a graph: which edges lead back, what lies between, and what waits until the cycle is left.

Without the edges that lead back a graph has no cycle and runs like any other. Taking such an edge begins the next
iteration of every step between its target and its source. An edge that leaves a cycle untaken settles only once the
cycle is left, for the next iteration may take it.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from app.engine.language.plan import Edge, Plan


@dataclass(slots=True)
class Cycles:
    """The cycles of one level, as they stand."""

    plan: Plan
    visits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each step was begun anew."""
    left: set[Edge] = field(default_factory=set)
    """Edges leading back whose source went on without them: their cycle is left."""
    settled: set[Edge] = field(default_factory=set)
    """Edges that count as settled in this iteration."""
    taken: set[Edge] = field(default_factory=set)
    waiting: dict[Edge, list[Edge]] = field(default_factory=lambda: defaultdict(list))
    """Untaken edges that wait for a cycle to be left, by the edge that leads back."""

    def name(self, step: str) -> str:
        """Return what the current iteration of a step is called."""
        visit = self.visits.get(step, 0)
        return f"{step}[{visit}]" if visit else step

    def leave(self, step: str) -> list[Edge]:
        """Note that a step went on; returns the untaken edges that need wait no longer."""
        released: list[Edge] = []
        for back in self.plan.leading_back[step]:
            self.left.add(back)
            released += self.waiting.pop(back, ())
        return released

    def holds_back(self, edge: Edge) -> bool:
        """Tell whether an untaken edge must wait, because it leaves a cycle that may come round again."""
        for back, region in self.plan.regions.items():
            if edge.source in region and edge.target not in region and back not in self.left:
                self.waiting[back].append(edge)
                return True
        return False

    def is_news(self, edge: Edge, *, taken: bool) -> bool:
        """Note that an edge has settled; returns False when it had in an earlier iteration."""
        if edge in self.settled:
            return False
        self.settled.add(edge)
        if taken:
            self.taken.add(edge)
        return True

    def begin_again(self, back: Edge, forget: Callable[[str, int, bool], None]) -> None:
        """Begin the next iteration of the steps between; `forget` gets each with its open edges, and if it is reached."""
        region = self.plan.regions[back]
        self.left -= {other for other in self.plan.regions if other.source in region}
        for other in list(self.waiting):
            self.waiting[other] = [
                edge for edge in self.waiting[other] if edge.source not in region
            ]
        inner = {
            edge for edge in self.plan.edges if edge.source in region and edge.target in region
        }
        self.settled -= inner
        self.taken -= inner
        leading_in: dict[str, list[Edge]] = {step: [] for step in region}
        for edge in self.plan.edges:
            if edge.target in region:
                leading_in[edge.target].append(edge)
        for step, incoming in leading_in.items():
            self.visits[step] += 1
            reached = any(edge in self.taken for edge in incoming)
            forget(step, sum(edge not in self.settled for edge in incoming), reached)
