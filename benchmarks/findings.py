"""What the benchmarks find: figures with their targets, points of the load curve, budgets of processor time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Target:
    """What a figure should reach; `at_most` for times and sizes, `at_least` for rates."""

    bound: Literal["at_least", "at_most"]
    value: float

    def is_met_by(self, value: float) -> bool:
        """Tell whether a figure reaches it."""
        return value >= self.value if self.bound == "at_least" else value <= self.value


@dataclass(frozen=True)
class Row:
    """One figure. `ratios` are its parts of the yardsticks that were measured in the same run."""

    name: str
    value: float
    unit: str
    target: Target | None = None
    ratios: tuple[tuple[str, float], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Point:
    """One point of the load curve: triggers offered and accepted in a second, latency in milliseconds."""

    offered: float
    accepted: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Budget:
    """Processor time of one run in microseconds, by kind of process, while so many runs finished in a second."""

    workload: str
    workers: int
    runs_per_second: float
    microseconds: dict[str, float]

    @property
    def total(self) -> float:
        """Return the processor time of one run, over all kinds."""
        return sum(self.microseconds.values())


@dataclass
class Findings:
    """Everything that a figure, or the whole suite, has found."""

    rows: list[Row] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)


def merged(parts: Iterable[Findings]) -> Findings:
    """Return all findings as one."""
    whole = Findings()
    for part in parts:
        whole.rows += part.rows
        whole.curve += part.curve
        whole.budgets += part.budgets
    return whole


def at_least(value: float) -> Target:
    """Return a target that a rate should reach or exceed."""
    return Target("at_least", value)


def at_most(value: float) -> Target:
    """Return a target that a time or a size should not exceed."""
    return Target("at_most", value)
