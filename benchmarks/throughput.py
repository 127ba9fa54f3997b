"""Accepted triggers/s and finished 3-step runs/s, beside a bare group-commit insert loop on the same Postgres.

    python -m benchmarks.throughput [--seconds 10] [--connections 64]

Everything shares the machine: the load generator, API, worker, Postgres (fsync on) and Redis.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Engine, text

from app.core.ids import new_id
from app.db.base import make_engine
from app.db.group_commit import GroupCommit
from app.db.statement import Statement
from app.embedded.waiting import wait_until
from benchmarks.load import Figures, Job
from benchmarks.platform import running

DRAIN_SECONDS = 300
STEPS = (
    {"id": "order", "type": "transform", "config": {"value": {"id": "${{ input.id }}", "total": "${{ input.price * input.count }}"}}},
    {"id": "label", "type": "transform", "config": {"value": "Order ${{ steps.order.output.id }}: ${{ steps.order.output.total }}"}},
    {"id": "note", "type": "log", "config": {"message": "${{ steps.label.output }}"}},
)  # fmt: skip
BODY = json.dumps({"id": "A-1042", "price": 19.5, "count": 3})
INSERT = Statement(
    "INSERT INTO bare (id, body) SELECT id, body FROM {rows}", rows={"id": "uuid", "body": "json"}
)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with running() as platform:
        engine = make_engine(platform.database_url)
        bare = asyncio.run(bare_inserts(engine, options.connections, options.seconds / 2))
        webhook = platform.workflow("three steps", *STEPS)
        load(Job(webhook, BODY, options.connections, 2, "warm"))
        settled(engine)
        before, started = finished(engine), time.perf_counter()
        figures = load(Job(webhook, BODY, options.connections, options.seconds, "main"))
        during = (finished(engine) - before) / (time.perf_counter() - started)
        settled(engine)
        overall = (finished(engine) - before) / (time.perf_counter() - started)
        alone = load(Job(webhook, BODY, 1, 3, "alone"))
        settled(engine)
    report(bare, figures, alone, during, overall)


def report(bare: float, figures: Figures, alone: Figures, during: float, overall: float) -> None:
    """Print the figures, and their ratios to the yardstick."""
    accepted = figures.accepted / figures.seconds
    print(f"bare group-commit inserts/s           {bare:8.0f}")
    print(f"accepted triggers/s                   {accepted:8.0f}   {accepted / bare:.2f} of bare")
    print(f"  p50 {figures.p50} ms, p99 {figures.p99} ms, refused {figures.refused}")
    print(f"finished 3-step runs/s, while accepting {during:6.0f}   {during / bare:.2f} of bare")
    print(f"finished 3-step runs/s, over all        {overall:6.0f}   {overall / bare:.2f} of bare")
    print(f"one at a time: webhook to 202         p50 {alone.p50} ms, p99 {alone.p99} ms")


def load(job: Job) -> Figures:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Figures(**json.loads(done.stdout))


async def bare_inserts(engine: Engine, tasks: int, seconds: float) -> float:
    """Return rows/s of single inserts that share commits, with nothing around them."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE bare (id uuid PRIMARY KEY, body json)"))
    body = json.loads(BODY)

    def flush(batch: Sequence[str]) -> Sequence[bool]:
        with engine.begin() as connection:
            INSERT.run(connection, [{"id": item, "body": body} for item in batch])
        return [True] * len(batch)

    commits: GroupCommit[str, bool] = GroupCommit(flush, name="bare")
    ends = time.perf_counter() + seconds

    async def task() -> int:
        count = 0
        while time.perf_counter() < ends:
            await commits.submit(new_id())
            count += 1
        return count

    rows = sum(await asyncio.gather(*(task() for _ in range(tasks))))
    await commits.close()
    return rows / seconds


def finished(engine: Engine) -> int:
    """Return how many runs have succeeded."""
    with engine.connect() as connection:
        return int(
            connection.execute(
                text("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            ).scalar_one()
        )


def settled(engine: Engine) -> None:
    """Wait until every run has ended."""
    query = text("SELECT count(*) FROM runs WHERE finished_at IS NULL")

    def none_left() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(query).scalar_one() == 0)

    if not wait_until(none_left, DRAIN_SECONDS):
        raise SystemExit("runs are left unfinished")


if __name__ == "__main__":
    main()
