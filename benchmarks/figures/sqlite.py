"""Finished runs on SQLite."""

from benchmarks.bench import Bench
from benchmarks.findings import Findings, Row, at_least
from benchmarks.platform import own_folder, running
from benchmarks.shapes import chain
from benchmarks.sustained import sustained


def measure(bench: Bench) -> Findings:
    """Run a chain of 3 steps with DATABASE_URL=sqlite:///…."""
    with (
        own_folder() as folder,
        running(DATABASE_URL=f"sqlite:///{folder}/automateos.db") as platform,
    ):
        seconds = bench.extent.short_seconds
        budget = sustained(bench, platform, "3 steps, SQLite", chain(3), seconds=seconds)
    row = Row("finished 3-step runs, SQLite", budget.runs_per_second, "/s", at_least(400))
    return Findings([row], budgets=[budget])
