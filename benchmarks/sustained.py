"""Finished runs per second while triggers arrive as fast as the workers finish runs, and what a run costs."""

import time
from dataclasses import dataclass

from app.embedded.waiting import wait_until
from benchmarks.bench import BACKLOG_PER_WORKER, CONNECTIONS, Bench
from benchmarks.findings import Budget
from benchmarks.load import Job, figures_of, loading
from benchmarks.platform import Platform
from benchmarks.queries import finished, scalar, settled
from benchmarks.shapes import BODY, Steps

MARGIN_SECONDS = 2.0
PATIENCE_SECONDS = 60
MICROSECONDS = 1_000_000
INCOMPLETE = """
SELECT count(*) FROM runs r JOIN workflows w ON w.id = r.workflow_id WHERE w.name = :name
   AND (r.status <> 'succeeded' OR (SELECT count(*) FROM steps s WHERE s.run_id = r.id AND s.status = 'succeeded') <> :steps)
"""


@dataclass(frozen=True)
class Moment:
    """What had been done by a moment."""

    at: float
    runs: int
    cpu_seconds: dict[str, float]


def sustained(
    bench: Bench, platform: Platform, name: str, steps: Steps, *, seconds: float, workers: int = 1
) -> Budget:
    """Measure a workflow; afterwards every step of every run must be in the history.

    The load begins before the measurement and ends after it, so that the measurement sees a steady state.
    """
    engine, webhook = platform.engine, platform.workflow(name, *steps)
    warm_up = bench.extent.warm_up_seconds
    job = Job(
        webhook,
        BODY,
        CONNECTIONS,
        warm_up + seconds + MARGIN_SECONDS,
        name,
        database_url=platform.database_url,
        backlog=BACKLOG_PER_WORKER * workers,
    )
    already = finished(engine)
    with loading(job) as generator:
        # The load generator takes a moment to start, on a busy machine a long one.
        if not wait_until(lambda: finished(engine) > already, PATIENCE_SECONDS):
            raise SystemExit(f"{name}: no run has finished after {PATIENCE_SECONDS} s")
        _pause(warm_up)
        before = _moment(platform)
        _pause(seconds)
        after = _moment(platform)
        figures = figures_of(generator)
    settled(engine)
    incomplete = scalar(engine, INCOMPLETE, name=name, steps=len(steps))
    if figures.refused or incomplete:
        raise SystemExit(
            f"{name}: {figures.refused} triggers refused, {incomplete} runs without their full history"
        )
    return budget_between(name, workers, before, after)


def budget_between(workload: str, workers: int, before: Moment, after: Moment) -> Budget:
    """Return the rate, and the processor time of a run by kind of process, between two moments."""
    runs = after.runs - before.runs
    if not runs:
        raise SystemExit(f"{workload}: no run has finished in {after.at - before.at:.0f} s")
    costs = {
        kind: (seconds - before.cpu_seconds.get(kind, 0.0)) / runs * MICROSECONDS
        for kind, seconds in sorted(after.cpu_seconds.items())
    }
    return Budget(workload, workers, runs / (after.at - before.at), costs)


def _moment(platform: Platform) -> Moment:
    return Moment(time.perf_counter(), finished(platform.engine), platform.cpu_seconds())


def _pause(seconds: float) -> None:
    wait_until(lambda: False, seconds)
