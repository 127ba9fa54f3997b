"""Resident memory: idle, with 1,000 runs in flight, and over many runs."""

from app.embedded.waiting import wait_until
from benchmarks.bench import BACKLOG_PER_WORKER, CONNECTIONS, Bench
from benchmarks.figures.http import LOOPBACK
from benchmarks.findings import Findings, Row, at_most
from benchmarks.load import Job, load
from benchmarks.platform import Platform, running
from benchmarks.queries import settled
from benchmarks.shapes import BODY, calling, chain
from benchmarks.sink import holding, release, sink

IN_FLIGHT = 1_000
PATIENCE_SECONDS = 60
IDLE_MB = at_most(110)
NO_GROWTH_MB = at_most(5)
PARTS = 5


def measure(bench: Bench) -> Findings:
    """Look at the API and the worker in each situation."""
    return Findings([*_idle_and_growing(bench), *_in_flight()])


def _idle_and_growing(bench: Bench) -> list[Row]:
    """Compare the memory after the first part of the runs, when caches are filled, with that after the last."""
    runs, kinds = bench.extent.runs, ("API", "worker")
    with running() as platform:
        idle = [_idle(platform, kind) for kind in kinds]
        webhook = platform.workflow("memory", *chain(3))
        sizes = []
        for part in range(PARTS):
            _finish(platform, webhook, runs // PARTS, f"part-{part}")
            sizes.append({kind: platform.resident_mb(kind) for kind in kinds})
    first, last = sizes[0], sizes[-1]
    rows = idle
    for kind in kinds:
        growth = last[kind] - first[kind]
        note = (
            f"{first[kind]:.0f} MB after {runs // PARTS:,} runs, {last[kind]:.0f} MB after {runs:,}"
        )
        rows.append(Row(f"memory of the {kind}, growth", growth, "MB", NO_GROWTH_MB, note=note))
    return rows


def _idle(platform: Platform, kind: str) -> Row:
    resident, private = platform.resident_mb(kind), platform.private_mb(kind)
    note = f"resident; {private:.0f} MB of it are its own, the rest are libraries that all processes share"
    return Row(f"memory of the {kind}, idle", resident, "MB", IDLE_MB, note=note)


def _finish(platform: Platform, webhook: str, runs: int, name: str) -> None:
    load(
        Job(
            webhook,
            BODY,
            CONNECTIONS,
            float(PATIENCE_SECONDS * 60),
            name,
            most=runs,
            database_url=platform.database_url,
            backlog=BACKLOG_PER_WORKER,
        )
    )
    settled(platform.engine)


def _in_flight() -> list[Row]:
    """Hold the calls of 1,000 runs at the sink."""
    settings = {"EGRESS_ALLOW": LOOPBACK, "RUNS_PER_WORKER": str(2 * IN_FLIGHT)}
    with sink() as address, running(**settings) as platform:
        webhook = platform.workflow("held", *calling(f"{address}/held"))
        load(Job(webhook, BODY, CONNECTIONS, PATIENCE_SECONDS, "held", most=IN_FLIGHT))
        if not wait_until(lambda: holding(address) == IN_FLIGHT, PATIENCE_SECONDS):
            raise SystemExit(f"{holding(address)} of {IN_FLIGHT} runs are in flight")
        size = platform.resident_mb("worker")
        release(address)
        settled(platform.engine)
    name = f"memory of the worker, {IN_FLIGHT:,} runs in flight"
    return [Row(name, size, "MB", at_most(300), note="each waits for the answer to an HTTP call")]
