"""A load generator that costs little: raw HTTP/1.1 over keep-alive connections, in a process of its own.

Run as a module it reads a JSON job from standard input and writes its figures as JSON to standard output.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.http_client import Connection, post
from benchmarks.pacing import Gate, Timetable
from benchmarks.percentiles import percentile

ACCEPTED = 202
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Job:
    """What to send: `body` to `url`, over so many connections, for so long; each with a key of its own.

    As fast as answers come, or `rate` a second; at most `most` requests. With a `database_url` it holds back while
    more than `backlog` runs are unfinished there, so that triggers arrive as fast as the workers finish runs.
    """

    url: str
    body: str
    connections: int
    seconds: float
    key_prefix: str
    rate: float | None = None
    most: int | None = None
    database_url: str = ""
    backlog: int = 0


@dataclass
class Figures:
    """What came back. Latencies in milliseconds; with a `rate`, from the moment at which a request was due."""

    accepted: int
    refused: int
    seconds: float
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        """Return the triggers accepted in a second."""
        return self.accepted / self.seconds


async def run(job: Job) -> Figures:
    """Send the job's requests."""
    latencies: list[float] = []
    refused = 0
    timetable = Timetable(job.seconds, job.rate, job.most)
    gate = Gate(job.database_url, job.backlog)

    async def send_on(number: int) -> None:
        nonlocal refused
        connection = await Connection.open(job.url)
        sent = 0
        while (due := await timetable.next()) is not None:
            await gate.passed()
            sent += 1
            request = post(job.url, job.body, f"{job.key_prefix}-{number}-{sent}")
            before = due if job.rate else time.perf_counter()
            if await connection.ask(request) == ACCEPTED:
                latencies.append(time.perf_counter() - before)
            else:
                refused += 1
        connection.close()

    async with gate.kept():
        await asyncio.gather(*(send_on(number) for number in range(job.connections)))
    seconds = time.perf_counter() - timetable.started
    p50, p99 = (round(percentile(latencies, share) * 1000, 2) for share in (0.5, 0.99))
    return Figures(len(latencies), refused, seconds, p50, p99)


def load(job: Job) -> Figures:
    """Run the load generator in a process of its own."""
    with loading(job) as process:
        return figures_of(process)


@contextmanager
def loading(job: Job) -> Iterator["subprocess.Popen[str]"]:
    """Let the load generator run, for `figures_of` to wait for."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(job)))
        process.stdin.close()
        process.stdin = None
        yield process
    finally:
        process.kill()
        process.wait()


def figures_of(process: "subprocess.Popen[str]") -> Figures:
    """Wait for the load generator's figures."""
    answer, _ = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode:
        raise SystemExit("the load generator failed, as shown above")
    return Figures(**json.loads(answer))


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(run(Job(**json.load(sys.stdin)))))))
