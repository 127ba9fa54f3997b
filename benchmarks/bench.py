"""What every figure gets: how long to measure, and the yardsticks of this run."""

from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import Engine

from benchmarks.bare import inserts_per_second, requests_per_second, way_seconds
from benchmarks.load import Job, load
from benchmarks.platform import running
from benchmarks.queries import settled
from benchmarks.shapes import BODY

CONNECTIONS = 64
BACKLOG_PER_WORKER = 1_500
"""Runs left unfinished while triggers are held back: enough to keep a worker of 500 runs busy."""


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    name: str
    seconds: float
    short_seconds: float
    warm_up_seconds: float
    samples: int
    runs: int
    history: int
    flood: int
    curve_most: int


QUICK = Extent("quick", 6, 3, 2, 200, 4_000, 20_000, 4_000, 2_000)
USUAL = Extent("usual", 60, 10, 4, 1_000, 20_000, 100_000, 20_000, 8_000)
FULL = replace(USUAL, name="full", runs=100_000, history=1_000_000)


class Bench:
    """One run of the benchmarks: its extent, and the yardsticks, measured when they are first asked for."""

    def __init__(self, extent: Extent) -> None:
        self.extent = extent

    @cached_property
    def bare_requests(self) -> float:
        """Requests that a bare uvicorn endpoint answers in a second."""
        return requests_per_second(CONNECTIONS, self.extent.short_seconds)

    @cached_property
    def bare_inserts(self) -> float:
        """Rows that a bare group-commit loop inserts in a second."""
        with running() as platform:
            return inserts_per_second(platform.engine, CONNECTIONS, self.extent.short_seconds)

    @cached_property
    def bare_way_ms(self) -> float:
        """Milliseconds of what cannot be left out between a webhook and its effect."""
        with running() as platform:
            return way_seconds(platform.engine, self.extent.samples) * 1000

    def ratios(self, value: float) -> tuple[tuple[str, float], ...]:
        """Return a rate's parts of both yardsticks."""
        return (
            ("bare uvicorn", value / self.bare_requests),
            ("bare inserts", value / self.bare_inserts),
        )

    def warm_up(self, engine: Engine, webhook: str) -> None:
        """Trigger a workflow for a moment, and wait until its runs have ended."""
        seconds = self.extent.warm_up_seconds
        load(Job(webhook, BODY, CONNECTIONS, seconds, f"warm-{webhook[-6:]}"))
        settled(engine)
