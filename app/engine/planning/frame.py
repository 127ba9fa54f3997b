"""One level of a run: the whole definition, or one iteration of a loop's body. Edges settle here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.core.statuses import AttemptStatus
from app.engine.language.plan import ALWAYS, ANY_PORT, FAILED, Edge, Plan
from app.engine.planning.record import StepState

if TYPE_CHECKING:
    from app.engine.planning.loops import LoopState


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
    finished: list[StepState] = field(default_factory=list)
    """Steps that succeeded, in the order in which they did."""
    active: int = 0
    """Steps that run, wait for their next attempt, or loop."""
    queued: int = 0
    """Steps that are decided but neither begun nor skipped yet."""
    failure: StepState | None = None
    """The first step that failed with nobody to handle it."""

    def __post_init__(self) -> None:
        """Count the edges that are open at the start."""
        self.unsettled = dict(self.plan.indegree)

    def path(self, step: str) -> str:
        """Return the path of this level's instance of a step."""
        return self.prefix + step

    def scope(self) -> dict[str, Any]:
        """Return the names that expressions see here: the steps of this level and those around it, and the locals."""
        if self.outer is None:
            return {"steps": dict(self.view)}
        around = self.outer.scope()
        return {**around, **self.local, "steps": {**around["steps"], **self.view}}

    def upstream(self, step: str) -> dict[str, Any]:
        """Return the outputs of the steps right before this one that succeeded, in the order of the definition."""
        sources = self.plan.sources[step]
        outputs = {state.path.removeprefix(self.prefix): state.output for state in self.finished}
        return {source: outputs[source] for source in sources if source in outputs}

    def settle(self, step: str, state: StepState) -> Iterator[tuple[str, bool]]:
        """Settle the edges that leave a step; yields the steps decided by that: (step, whether it is to start)."""
        self.view[step] = {
            "output": state.output,
            "status": state.status.value,
            "error": state.error,
        }
        if state.status is AttemptStatus.SUCCEEDED:
            self.finished.append(state)
        handled = self.plan.steps[step].continue_on_error
        for edge in self.plan.outgoing[step]:
            handled = handled or edge.port in {FAILED, ALWAYS}
            decided = self._arrive(edge, taken=self._takes(edge, state))
            if decided is not None:
                yield edge.target, decided
        if state.failed and not handled and self.failure is None:
            self.failure = state

    def _takes(self, edge: Edge, state: StepState) -> bool:
        if state.failed:
            goes_on = edge.port == ANY_PORT and self.plan.steps[edge.source].continue_on_error
            return goes_on or edge.port in {FAILED, ALWAYS}
        if state.port is None:
            return False
        return edge.port in {ANY_PORT, ALWAYS, state.port}

    def _arrive(self, edge: Edge, *, taken: bool) -> bool | None:
        """Settle one edge; returns whether its target starts (True) or is dead (False), None while that is open."""
        self.unsettled[edge.target] -= 1
        if taken:
            self.reached.add(edge.target)
        if edge.target in self.decided:
            return None
        settled = self.unsettled[edge.target] == 0
        starts = edge.target in self.reached
        if settled or (starts and self.plan.steps[edge.target].join == "any"):
            self.decided.add(edge.target)
            return starts
        return None

    @property
    def over(self) -> bool:
        """Tell whether nothing more happens here."""
        return self.active == 0 and self.queued == 0

    @property
    def output(self) -> Any:
        """Return the output of this level: its last step's when one step ends the graph, else an object of the ends'."""
        outputs = {state.path.removeprefix(self.prefix): state.output for state in self.finished}
        if len(self.plan.ends) > 1:
            return {step: outputs[step] for step in self.plan.ends if step in outputs}
        if self.plan.ends[0] in outputs:
            return outputs[self.plan.ends[0]]
        return max(self.finished, key=_finish_order).output if self.finished else None


def _finish_order(state: StepState) -> tuple[float, int]:
    return (state.finished_at.timestamp() if state.finished_at else 0.0, state.seq)
