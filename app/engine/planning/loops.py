"""A loop in progress: which iterations are open, what they have brought, and whether another one follows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.engine.language.plan import Loop
from app.engine.planning.frame import Frame
from app.engine.planning.record import StepState


@dataclass(slots=True)
class LoopState:
    """The iterations of one loop step. `items` is None for a loop over a condition."""

    loop: Loop
    path: str
    outer: Frame
    items: list[Any] | None
    results: dict[int, Any] = field(default_factory=dict)
    begun: int = 0
    open: dict[int, Frame] = field(default_factory=dict)
    stopped: bool = False
    """Set when no further iteration is to begin: the condition is false, or `stop_when` held."""
    failure: Mapping[str, Any] | None = None
    latest: Frame | None = None

    def next_frame(self) -> Frame:
        """Begin the next iteration."""
        index, self.begun = self.begun, self.begun + 1
        local = (
            {"index": index} if self.items is None else {"item": self.items[index], "index": index}
        )
        frame = Frame(self.loop.body, f"{self.path}[{index}].", local, self.outer, self)
        self.open[index] = self.latest = frame
        return frame

    def close(self, frame: Frame) -> None:
        """Take over what an iteration has brought."""
        index = int(frame.local["index"])
        del self.open[index]
        if frame.failure is None:
            self.results[index] = frame.output
        elif self.loop.keep_going:
            self.results[index] = None
        elif self.failure is None:
            self.fail({**(frame.failure.error or {}), "step": frame.failure.path}, frame.failure)

    def fail(self, error: Mapping[str, Any], cause: StepState | None = None) -> None:
        """Let nothing new begin, here or in the iterations that are open."""
        self.failure = error
        for frame in self.open.values():
            frame.failure = frame.failure or cause

    @property
    def wants_more(self) -> bool:
        """Tell whether another iteration may begin now, as far as items and concurrency go."""
        if self.stopped or self.failure is not None or len(self.open) >= self.loop.concurrency:
            return False
        return self.items is None or self.begun < len(self.items)

    @property
    def over(self) -> bool:
        """Tell whether no iteration is open and none will begin."""
        return not self.open and not self.wants_more

    @property
    def output(self) -> Any:
        """Return the results in order; of a loop over a condition, how many there were and the last one."""
        results = [self.results[index] for index in sorted(self.results)]
        if self.items is not None:
            return results
        return {"iterations": len(results), "last": results[-1] if results else None}

    def local(self) -> Iterator[tuple[str, Any]]:
        """Yield the names that the condition sees besides those around the loop."""
        yield "index", self.begun
        yield "last", self.results.get(self.begun - 1)
