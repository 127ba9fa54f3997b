"""A loop in progress: which iterations are open, what they have brought, and whether another one follows."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import AutomateError
from app.engine.language.expressions.values import described
from app.engine.language.plan import Loop
from app.engine.planning.frame import Frame
from app.engine.planning.transitions import Failed

ITERATION = re.compile(r"\[(\d+)\]\.")


class LoopRefused(AutomateError):
    """The items of a loop cannot be looped over."""

    code = "loop_refused"


class LoopLimit(AutomateError):
    """A loop was to go on after its last iteration."""

    code = "loop_limit"


def iterations_begun(paths: Iterable[str]) -> dict[str, int]:
    """Return how many iterations of each loop are recorded, by the loop's path."""
    begun: dict[str, int] = {}
    for path in paths:
        for found in ITERATION.finditer(path):
            loop = path[: found.start()]
            begun[loop] = max(begun.get(loop, 0), int(found[1]) + 1)
    return begun


@dataclass(slots=True)
class LoopState:
    """The iterations of one loop step. `items` is None for a loop over a condition."""

    loop: Loop
    path: str
    outer: Frame
    items: list[Any] | None = None
    results: dict[int, Any] = field(default_factory=dict)
    begun: int = 0
    open: dict[int, Frame] = field(default_factory=dict)
    stopped: bool = False
    """Set when no further iteration is to begin: the condition is false, or `stop_when` held."""
    failure: Failed | None = None
    """Why the loop fails; set, nothing new begins here or in the iterations that are open."""
    latest: Frame | None = None

    def take_items(self, scope: Mapping[str, Any]) -> None:
        """Evaluate what to loop over.

        Raises:
            AutomateError: it cannot be evaluated, or cannot be looped over.
        """
        if self.loop.items is None:
            return
        items, most = self.loop.items.evaluate(scope), self.loop.max_iterations
        if not isinstance(items, list):
            raise LoopRefused(f"`items` must be a list; it is {described(items)}.")
        if len(items) > most:
            raise LoopRefused(f"`items` has {len(items)} items; max_iterations allows {most}.")
        self.items = items

    def require_one_more(self) -> None:
        """Raise when there were as many iterations as may be.

        Raises:
            LoopLimit: there were.
        """
        most = self.loop.max_iterations
        if self.begun >= most:
            raise LoopLimit(f"The loop was to go on after {most} iterations (max_iterations).")

    def next_frame(self) -> Frame:
        """Begin the next iteration."""
        index, self.begun = self.begun, self.begun + 1
        local = (
            {"index": index} if self.items is None else {"item": self.items[index], "index": index}
        )
        frame = Frame(self.loop.body, f"{self.path}[{index}].", local, self.outer, self)
        self.open[index] = self.latest = frame
        return frame

    def index(self, frame: Frame) -> int:
        """Return the number of an iteration."""
        return int(frame.local["index"])

    def close(self, frame: Frame) -> bool:
        """Take over what an iteration has brought; returns False when it was closed before."""
        index = self.index(frame)
        if self.open.pop(index, None) is None:
            return False
        self.results[index] = frame.output if frame.failure is None else None
        if frame.failure is not None and not self.loop.keep_going and self.failure is None:
            error = {**(frame.failure.error or {}), "step": frame.failure.path}
            code, message = error.pop("code", "failed"), error.pop("message", "")
            self.failure = Failed(code, message, data=error)
        return True

    def fail(self, error: AutomateError) -> None:
        """Let the loop fail because of its own expressions."""
        self.failure = Failed(error.code, error.detail)

    @property
    def wants_more(self) -> bool:
        """Tell whether another iteration may begin now, as far as items and concurrency go."""
        if self.stopped or self.failure is not None or self.outer.halted:
            return False
        if len(self.open) >= self.loop.concurrency:
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
