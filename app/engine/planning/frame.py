"""One level of a run: the whole definition, or one iteration of a loop's body. Edges settle here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.core.statuses import AttemptStatus
from app.engine.language.plan import ALWAYS, ANY_PORT, FAILED, Edge, Plan
from app.engine.planning.cycles import Cycles
from app.engine.planning.record import StepState, finish_order

if TYPE_CHECKING:
    from app.engine.planning.loops import LoopState

Holds = Callable[[Edge], bool]


@dataclass(slots=True)
class Frame:
    """The steps of one plan in one place of the run. Steps become ready, or dead, as the edges into them settle."""

    plan: Plan
    prefix: str = ""
    local: Mapping[str, Any] = field(default_factory=dict)
    """Names that expressions see here besides the steps: `item`, `index`."""
    outer: "Frame | None" = None
    loop: "LoopState | None" = None
    """The loop of which this is an iteration."""
    unsettled: dict[str, int] = field(init=False)
    """Edges into each step that have not settled yet."""
    reached: set[str] = field(default_factory=set)
    """Steps into which an edge was taken."""
    decided: set[str] = field(default_factory=set)
    """Steps that were begun or skipped."""
    view: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What expressions see of the steps that are settled."""
    finished: dict[str, StepState] = field(default_factory=dict)
    """Steps that succeeded, by id."""
    active: int = 0
    """Steps that run, wait for their next attempt, or loop."""
    queued: int = 0
    """Steps that are decided but neither begun nor skipped yet."""
    cycles: Cycles | None = field(init=False)
    failure: StepState | None = None
    """The first step that failed with nobody to handle it."""

    def __post_init__(self) -> None:
        """Count the edges that are open at the start."""
        self.unsettled = dict(self.plan.indegree)
        self.cycles = Cycles(self.plan) if self.plan.back else None

    def path(self, step: str) -> str:
        """Return the path of this level's instance of a step."""
        return self.prefix + (self.cycles.name(step) if self.cycles is not None else step)

    def scope(self) -> dict[str, Any]:
        """Return the names that expressions see here: the steps of this level and those around it, and the locals."""
        if self.outer is None:
            return {"steps": dict(self.view)}
        around = self.outer.scope()
        return {**around, **self.local, "steps": {**around["steps"], **self.view}}

    def upstream(self, step: str) -> dict[str, Any]:
        """Return the outputs of the steps right before this one that succeeded, in the order of the definition."""
        sources = self.plan.sources[step]
        return {
            source: self.finished[source].output for source in sources if source in self.finished
        }

    def settle(self, step: str, state: StepState, holds: Holds) -> Iterator[tuple[str, bool]]:
        """Settle the edges that leave a step; yields the steps decided by that: (step, whether it is to start).

        `holds` tells whether an edge's condition holds, once the step's output can be seen.
        """
        self.view[step] = {
            "output": state.output,
            "status": state.status.value,
            "error": state.error,
        }
        if state.status is AttemptStatus.SUCCEEDED:
            self.finished[step] = state
        else:
            self.finished.pop(step, None)
        edges = (*self.plan.outgoing[step], *self.plan.leading_back[step])
        handled = any(edge.port in {FAILED, ALWAYS} for edge in edges)
        if state.failed and not handled and not self.plan.steps[step].continue_on_error:
            self.failure = min(self.failure or state, state, key=finish_order)
        again = self._leads_back(step, state, holds)
        if again is not None:
            yield from self._begin_again(again)
            return
        for edge in self.cycles.leave(step) if self.cycles is not None else ():
            yield from self._arrive(edge, taken=False)
        for edge in self.plan.outgoing[step]:
            taken = self._takes(edge, state) and (edge.condition is None or holds(edge))
            yield from self._arrive(edge, taken=taken)

    def _leads_back(self, step: str, state: StepState, holds: Holds) -> Edge | None:
        for edge in self.plan.leading_back[step]:
            if self._takes(edge, state) and (edge.condition is None or holds(edge)):
                return edge
        return None

    def _begin_again(self, back: Edge) -> Iterator[tuple[str, bool]]:
        assert self.cycles is not None  # noqa: S101 - for the type checker; an edge leads back
        self.cycles.begin_again(back, self._forget)
        self.decided.add(back.target)
        yield back.target, True

    def _forget(self, step: str, unsettled: int, reached: bool) -> None:
        self.decided.discard(step)
        self.unsettled[step] = unsettled
        (self.reached.add if reached else self.reached.discard)(step)

    def _takes(self, edge: Edge, state: StepState) -> bool:
        if state.failed:
            goes_on = edge.port == ANY_PORT and self.plan.steps[edge.source].continue_on_error
            return goes_on or edge.port in {FAILED, ALWAYS}
        if state.port is None:
            return False
        return edge.port in {ANY_PORT, ALWAYS, state.port}

    def _arrive(self, edge: Edge, *, taken: bool) -> Iterator[tuple[str, bool]]:
        """Settle one edge; yields its target if that decides it: it starts (True), or is dead (False)."""
        if self.cycles is not None:
            if not taken and self.cycles.holds_back(edge):
                return
            if not self.cycles.is_news(edge, taken=taken):
                return
        target = edge.target
        self.unsettled[target] -= 1
        if taken:
            self.reached.add(target)
        if target in self.decided:
            return
        starts = target in self.reached
        if self.unsettled[target] == 0 or (starts and self.plan.steps[target].join == "any"):
            self.decided.add(target)
            yield target, starts

    @property
    def halted(self) -> bool:
        """Tell whether nothing new starts here: a step here or around here has failed with nobody to handle it."""
        return self.failure is not None or self.halted_around

    @property
    def halted_around(self) -> bool:
        """Tell whether nothing new starts here because of what happened outside of this level."""
        loop = self.loop
        return loop is not None and (loop.failure is not None or loop.outer.halted)

    @property
    def over(self) -> bool:
        """Tell whether nothing more happens here."""
        return self.active == 0 and self.queued == 0

    @property
    def output(self) -> Any:
        """Return the output of this level: an object of its ends' outputs; of the last step that succeeded if one step
        ends it.

        Last in the order of the plan, not of time: the output does not depend on which step was faster.
        """
        finished, ends = self.finished, self.plan.ends
        if len(ends) > 1:
            return {step: finished[step].output for step in ends if step in finished}
        outputs = [finished[step].output for step in self.plan.steps if step in finished]
        return outputs[-1] if outputs else None
