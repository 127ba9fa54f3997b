"""What waiting costs: 10,000 runs in a delay, an idle worker's share of a core, and how they wake.

    python -m benchmarks.waiting [--runs 10000]

Needs Linux: the worker's processor time is read from /proc.
"""

import argparse
import json
import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from app.core.clock import SystemClock
from app.embedded.waiting import wait_until
from benchmarks.load import Job, load
from benchmarks.platform import running
from benchmarks.processes import cpu_seconds
from benchmarks.queries import scalar

IDLE_SECONDS = 20
SINGLE_RUNS = 100
SINGLE_SPREAD_SECONDS = 10.0
LEAD_SECONDS = 5
PATIENCE_SECONDS = 300
STEPS: tuple[dict[str, Any], ...] = (
    {"id": "wait", "type": "delay", "config": {"until": "${{ input.until }}"}},
    {"id": "note", "type": "log", "config": {"message": "awake"}},
)
LATENESS = """
SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM s.started_at)
       - extract(epoch FROM CAST(r.input ->> 'until' AS timestamptz)))
FROM runs r JOIN steps s ON s.run_id = r.id AND s.path = 'note' WHERE r.input ->> 'group' = :name
"""
LAST_END = "SELECT max(finished_at) FROM runs WHERE input ->> 'group' = 'mass'"
COUNT = "SELECT count(*) FROM runs WHERE status = 'waiting'"


def main() -> None:
    """Run the benchmark and print what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    with running() as platform:
        engine = platform.engine
        webhook = platform.workflow("waits", *STEPS)
        far = SystemClock().now() + timedelta(days=1)
        put_to_sleep(engine, webhook, body(far, "far"), runs)
        print(f"runs waiting                        {waiting(engine):8d}")
        print(f"idle worker, share of a core        {idle_share(engine):8.1%}")
        for late in range(SINGLE_RUNS):
            due = SystemClock().now() + timedelta(
                seconds=LEAD_SECONDS + late / SINGLE_RUNS * SINGLE_SPREAD_SECONDS
            )
            platform.client.post(webhook, json=json.loads(body(due, "single"))).raise_for_status()
        ended(engine, "single")
        p50, p99, most = scalar(engine, LATENESS, name="single")
        print(
            f"one due after the other: late by    p50 {p50:.2f} s, p99 {p99:.2f} s, most {most:.2f} s"
        )
        due = SystemClock().now() + timedelta(seconds=runs / 500 + LEAD_SECONDS)
        put_to_sleep(engine, webhook, body(due, "mass"), 2 * runs)
        ended(engine, "mass")
        seconds = (scalar(engine, LAST_END) - due).total_seconds()
        count = scalar(engine, "SELECT count(*) FROM runs WHERE input ->> 'group' = 'mass'")
        print(f"all due at once: {count} woken and finished, {count / seconds:.0f}/s")


def body(until: datetime, group: str) -> str:
    """Return a trigger's body."""
    return json.dumps({"until": until.isoformat(), "group": group})


def put_to_sleep(engine: Engine, webhook: str, trigger: str, target: int) -> None:
    """Trigger until so many runs wait."""
    turn = 0
    while waiting(engine) < target:
        turn += 1
        load(Job(webhook, trigger, 32, 1, f"{trigger[-12:-2]}-{turn}".replace('"', "")))
        started(engine)


def started(engine: Engine) -> None:
    """Wait until every run waits."""
    query = "SELECT count(*) FROM runs WHERE status IN ('queued', 'running')"
    if not wait_until(lambda: scalar(engine, query) == 0, PATIENCE_SECONDS):
        raise SystemExit("runs do not come to wait")


def ended(engine: Engine, group: str) -> None:
    """Wait until the runs of a group have ended."""
    query = "SELECT count(*) FROM runs WHERE input ->> 'group' = :name AND finished_at IS NULL"
    if not wait_until(lambda: scalar(engine, query, name=group) == 0, PATIENCE_SECONDS):
        raise SystemExit("runs do not wake")


def waiting(engine: Engine) -> int:
    """Return how many runs wait."""
    return int(scalar(engine, COUNT))


def idle_share(engine: Engine) -> float:
    """Return the part of a core that the worker takes while nothing is due."""
    pid = int(scalar(engine, "SELECT pid FROM workers"))
    before, since = cpu_seconds(pid)["worker"], time.perf_counter()
    wait_until(lambda: False, IDLE_SECONDS)
    return (cpu_seconds(pid)["worker"] - before) / (time.perf_counter() - since)


if __name__ == "__main__":
    main()
