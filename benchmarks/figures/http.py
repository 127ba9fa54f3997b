"""Webhook → transform → condition → HTTP POST to a sink on this machine."""

from benchmarks.bench import Bench
from benchmarks.findings import Findings, Row, at_least
from benchmarks.platform import running
from benchmarks.shapes import calling
from benchmarks.sink import sink
from benchmarks.sustained import sustained

LOOPBACK = "127.0.0.1/32"


def measure(bench: Bench) -> Findings:
    """Run the workflow with egress to the sink opened."""
    with sink() as address, running(EGRESS_ALLOW=LOOPBACK) as platform:
        seconds = bench.extent.short_seconds
        budget = sustained(bench, platform, "HTTP", calling(f"{address}/"), seconds=seconds)
    rate = budget.runs_per_second
    note = "webhook → transform → condition → HTTP POST to a local sink"
    row = Row("finished 4-node runs", rate, "/s", at_least(600), bench.ratios(rate), note)
    return Findings([row], budgets=[budget])
