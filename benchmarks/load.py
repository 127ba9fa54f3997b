"""A load generator that costs little: raw HTTP/1.1 over keep-alive connections, in a process of its own.

Run as a module it reads a JSON job from standard input and writes its figures as JSON to standard output.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Job:
    """What to send: `body` to `url`, over so many connections, for so long; each with a key of its own."""

    url: str
    body: str
    connections: int
    seconds: float
    key_prefix: str


@dataclass
class Figures:
    """What came back. Latencies in milliseconds."""

    accepted: int
    refused: int
    seconds: float
    p50: float
    p99: float


async def run(job: Job) -> Figures:
    """Send as fast as answers come."""
    parts = urlsplit(job.url)
    latencies: list[float] = []
    refused = 0
    started = time.perf_counter()
    ends = started + job.seconds

    async def connection(number: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        sent = 0
        while time.perf_counter() < ends:
            sent += 1
            head = (
                f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(job.body)}\r\n"
                f"Idempotency-Key: {job.key_prefix}-{number}-{sent}\r\n\r\n"
            )
            before = time.perf_counter()
            writer.write(head.encode() + job.body.encode())
            status = await _answer(reader)
            if status == 202:
                latencies.append(time.perf_counter() - before)
            else:
                refused += 1
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(job.connections)))
    seconds = time.perf_counter() - started
    latencies.sort()
    return Figures(len(latencies), refused, seconds, _at(latencies, 0.5), _at(latencies, 0.99))


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
    return int(head[9:12])


def _at(latencies: list[float], share: float) -> float:
    return round(latencies[int(len(latencies) * share)] * 1000, 2) if latencies else 0.0


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(run(Job(**json.load(sys.stdin)))))))
