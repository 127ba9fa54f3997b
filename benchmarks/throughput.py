"""Accepted triggers/s and finished runs/s, beside a bare group-commit insert loop on the same Postgres.

    python -m benchmarks.throughput [--seconds 10] [--connections 64] [--shape chain3|chain10|fan10|all]

Without `--shape`: a chain of 3 steps, and how long one trigger takes alone. With it: a line for each shape, all in one
run, so that they can be compared. Everything shares the machine: the load generator, API, worker, Postgres (fsync on)
and Redis.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Engine, text

from app.core.ids import new_id
from app.db.base import make_engine
from app.db.group_commit import GroupCommit
from app.db.statement import Statement
from app.embedded.waiting import wait_until
from benchmarks.load import Figures, Job
from benchmarks.platform import running
from benchmarks.shapes import SHAPES

DRAIN_SECONDS = 300
BODY = json.dumps({"id": "A-1042", "price": 19.5, "count": 3})
INSERT = Statement(
    "INSERT INTO bare (id, body) SELECT id, body FROM {rows}", rows={"id": "uuid", "body": "json"}
)


@dataclass(frozen=True)
class Measured:
    """One shape under load: what was accepted, and how many runs finished in a second meanwhile and over all."""

    figures: Figures
    during: float
    overall: float

    @property
    def accepted(self) -> float:
        """Return the triggers accepted in a second."""
        return self.figures.accepted / self.figures.seconds


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--shape", choices=[*SHAPES, "all"])
    options = parser.parse_args()
    with running() as platform:
        engine = make_engine(platform.database_url)
        bare = asyncio.run(bare_inserts(engine, options.connections, options.seconds / 2))
        if options.shape is None:
            webhook = platform.workflow("three steps", *SHAPES["chain3"])
            measured = measure(engine, webhook, options.connections, options.seconds)
            alone = load(Job(webhook, BODY, 1, 3, "alone"))
            settled(engine)
            report(bare, measured, alone)
            return
        print(f"bare group-commit inserts/s {bare:8.0f}; in brackets: of bare")
        for shape in SHAPES if options.shape == "all" else [options.shape]:
            webhook = platform.workflow(shape, *SHAPES[shape])
            measured = measure(engine, webhook, options.connections, options.seconds)
            report_shape(shape, bare, measured)


def measure(engine: Engine, webhook: str, connections: int, seconds: float) -> Measured:
    """Trigger a workflow as fast as answers come, once it is warm, and wait until every run has ended."""
    load(Job(webhook, BODY, connections, 2, "warm"))
    settled(engine)
    before, started = finished(engine), time.perf_counter()
    figures = load(Job(webhook, BODY, connections, seconds, "main"))
    during = (finished(engine) - before) / (time.perf_counter() - started)
    settled(engine)
    overall = (finished(engine) - before) / (time.perf_counter() - started)
    return Measured(figures, during, overall)


def report(bare: float, measured: Measured, alone: Figures) -> None:
    """Print the figures, and their ratios to the yardstick."""
    figures, accepted = measured.figures, measured.accepted
    during, overall = measured.during, measured.overall
    print(f"bare group-commit inserts/s           {bare:8.0f}")
    print(f"accepted triggers/s                   {accepted:8.0f}   {accepted / bare:.2f} of bare")
    print(f"  p50 {figures.p50} ms, p99 {figures.p99} ms, refused {figures.refused}")
    print(f"finished 3-step runs/s, while accepting {during:6.0f}   {during / bare:.2f} of bare")
    print(f"finished 3-step runs/s, over all        {overall:6.0f}   {overall / bare:.2f} of bare")
    print(f"one at a time: webhook to 202         p50 {alone.p50} ms, p99 {alone.p99} ms")


def report_shape(shape: str, bare: float, measured: Measured) -> None:
    """Print the figures of one shape in a line."""
    steps = len(SHAPES[shape])
    per_second = (
        ("accepted triggers/s", measured.accepted),
        ("finished runs/s while accepting", measured.during),
        ("over all", measured.overall),
        ("steps/s", measured.overall * steps),
    )
    shown = ", ".join(f"{name} {value:.0f} ({value / bare:.3f})" for name, value in per_second)
    print(f"{shape:8} {shown}, refused {measured.figures.refused}", flush=True)


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
