"""A long history: listing, opening and triggering must cost what they cost in an empty database."""

import time

from sqlalchemy import text

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.filling import fill
from benchmarks.findings import Findings, Row, at_least, at_most
from benchmarks.load import Figures, Job, load
from benchmarks.percentiles import percentile
from benchmarks.platform import Platform, running
from benchmarks.queries import settled
from benchmarks.shapes import BODY, chain

EACH_MS = at_most(30)
SOME_RUNS = "SELECT id FROM runs ORDER BY random() LIMIT :count"


def measure(bench: Bench) -> Findings:
    """Measure triggers before and after the history is filled, and reads after."""
    count, samples = bench.extent.history, bench.extent.samples
    with running() as platform:
        webhook = platform.workflow("history", *chain(3))
        bench.warm_up(platform.engine, webhook)
        empty = _triggers(bench, platform, webhook, "empty")
        fill(platform.engine, count)
        full = _triggers(bench, platform, webhook, "full")
        alone = load(Job(webhook, BODY, 1, bench.extent.short_seconds, "alone", most=samples))
        settled(platform.engine)
        lists, opened = _reads(platform, webhook, samples)
    among, share = f"among {count:,} finished runs", full.per_second / empty.per_second
    note = f"{full.per_second:.0f}/s {among}, {empty.per_second:.0f}/s without"
    return Findings(
        [
            Row("list the newest 50, p99", lists, "ms", EACH_MS, note=among),
            Row("open a run, p99", opened, "ms", EACH_MS, note=among),
            Row("accept a trigger, p99", alone.p99, "ms", EACH_MS, note=f"{among}, one at a time"),
            Row("trigger rate, of an empty database's", share * 100, "%", at_least(90), note=note),
        ]
    )


def _triggers(bench: Bench, platform: Platform, webhook: str, name: str) -> Figures:
    figures = load(Job(webhook, BODY, CONNECTIONS, bench.extent.short_seconds, name))
    settled(platform.engine)
    return figures


def _reads(platform: Platform, webhook: str, samples: int) -> tuple[float, float]:
    """Return the p99 of listing and of opening runs from anywhere in the history, in milliseconds."""
    address = webhook.partition("?")[0].replace("/webhooks/", "/workflows/") + "/runs?limit=50"
    ids = _some_runs(platform, samples)
    addresses = [f"/api/v1/runs/{run}" for run in ids]
    lists = [_milliseconds(platform, address) for _ in range(samples)]
    opened = [_milliseconds(platform, address) for address in addresses]
    return percentile(lists, 0.99), percentile(opened, 0.99)


def _milliseconds(platform: Platform, address: str) -> float:
    began = time.perf_counter()
    platform.client.get(address).raise_for_status()
    return (time.perf_counter() - began) * 1000


def _some_runs(platform: Platform, count: int) -> list[str]:
    """Return runs from anywhere in the history."""
    with platform.engine.connect() as connection:
        rows = connection.execute(text(SOME_RUNS), {"count": count})
        return [str(row.id) for row in rows]
