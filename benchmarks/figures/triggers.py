"""Accepted webhook triggers: token auth, a key in each, every 202 committed, and a worker that runs what comes in."""

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.findings import Findings, Row, at_least, at_most
from benchmarks.load import Job, load
from benchmarks.platform import running
from benchmarks.queries import settled
from benchmarks.shapes import BODY, chain


def measure(bench: Bench) -> Findings:
    """Trigger a chain of 3 steps as fast as answers come."""
    with running() as platform:
        webhook = platform.workflow("triggers", *chain(3))
        bench.warm_up(platform.engine, webhook)
        figures = load(Job(webhook, BODY, CONNECTIONS, bench.extent.short_seconds, "main"))
        settled(platform.engine)
    rate = figures.per_second
    note = f"{CONNECTIONS} connections, one API process; {figures.refused} refused"
    return Findings(
        [
            Row("accepted triggers", rate, "/s", at_least(2_500), bench.ratios(rate), note),
            Row("trigger to 202, p50", figures.p50, "ms"),
            Row("trigger to 202, p99", figures.p99, "ms", at_most(80)),
        ]
    )
