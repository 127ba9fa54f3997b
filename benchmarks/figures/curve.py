"""The load curve: triggers are offered at a steady rate, more of them each time, until they are not all accepted."""

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.findings import Findings, Point, Row
from benchmarks.load import Job, load
from benchmarks.platform import running
from benchmarks.queries import settled
from benchmarks.shapes import BODY, chain

STEP = 500
ENOUGH = 0.95


def measure(bench: Bench) -> Findings:
    """Offer 500 triggers a second, 1,000, 1,500 … on as many connections; latency counts from when each was due."""
    found = Findings()
    with running() as platform:
        webhook = platform.workflow("curve", *chain(3))
        bench.warm_up(platform.engine, webhook)
        for offered in range(STEP, bench.extent.curve_most + 1, STEP):
            seconds = bench.extent.short_seconds
            job = Job(webhook, BODY, CONNECTIONS, seconds, f"curve-{offered}", rate=offered)
            figures = load(job)
            settled(platform.engine)
            found.curve.append(Point(offered, figures.per_second, figures.p50, figures.p99))
            if figures.per_second < ENOUGH * offered:
                break
    kept = [point for point in found.curve if point.accepted >= ENOUGH * point.offered]
    if kept:
        note = f"p50 {kept[-1].p50} ms, p99 {kept[-1].p99} ms; the chart has all rates"
        found.rows.append(Row("highest steady rate kept", kept[-1].offered, "/s", note=note))
    return found
