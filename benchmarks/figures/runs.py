"""Finished runs of 3 and of 10 steps, sustained, with their full history."""

from benchmarks.bench import Bench
from benchmarks.findings import Findings, Row, at_least
from benchmarks.platform import running
from benchmarks.shapes import chain
from benchmarks.sustained import sustained

TARGETS = {3: 1_500, 10: 550}


def measure(bench: Bench) -> Findings:
    """Run chains of steps, each of which reads what an earlier one put out."""
    found, seconds = Findings(), bench.extent.seconds
    for steps, target in TARGETS.items():
        with running() as platform:
            budget = sustained(bench, platform, f"{steps} steps", chain(steps), seconds=seconds)
        rate = budget.runs_per_second
        note = f"for {seconds:g} s while triggers arrive"
        name = f"finished {steps}-step runs"
        found.rows.append(Row(name, rate, "/s", at_least(target), bench.ratios(rate), note))
        found.budgets.append(budget)
    return found
