"""Finished runs with 1, 2 and 4 worker processes on the same cores."""

from benchmarks.bench import Bench
from benchmarks.findings import Findings, Row
from benchmarks.platform import running
from benchmarks.shapes import chain
from benchmarks.sustained import sustained

COUNTS = (1, 2, 4)


def measure(bench: Bench) -> Findings:
    """Run a chain of 3 steps on each number of workers."""
    found, seconds = Findings(), bench.extent.short_seconds
    for workers in COUNTS:
        with running(WORKERS=str(workers)) as platform:
            budget = sustained(
                bench, platform, "3 steps", chain(3), seconds=seconds, workers=workers
            )
        name = f"finished 3-step runs, WORKERS={workers}"
        found.rows.append(Row(name, budget.runs_per_second, "/s"))
        found.budgets.append(budget)
    return found
