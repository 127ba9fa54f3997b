"""The yardsticks: what is left when everything that makes a platform is taken away.

`endpoint` reads a request and answers 202 without doing anything, as plain ASGI on uvicorn. `inserts_per_second` is one
process that inserts small rows into Postgres, each caller waiting for its own commit, which others share. `way_seconds` is
what cannot be left out between a webhook and its effect: a request, three commits, another request.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvloop
from sqlalchemy import Engine, text

from app.core.ids import new_id
from app.db.group_commit import GroupCommit
from app.db.statement import Statement
from app.embedded.waiting import wait_until
from benchmarks.http_client import Connection, post
from benchmarks.load import Job, load
from benchmarks.percentiles import percentile
from benchmarks.platform import HOST, free_port
from benchmarks.shapes import BODY

CREATE = "CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, body json)"
INSERT = Statement(
    "INSERT INTO bare (id, body) SELECT id, body FROM {rows}", rows={"id": "uuid", "body": "json"}
)
ANSWER = b'{"run_id": "019a0000-0000-7000-8000-000000000000", "status": "queued"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
START_SECONDS = 20
PAUSE_SECONDS = 0.005
"""Between two things that are measured by themselves: everything has cooled down a little, as between two webhooks."""
Message = dict[str, Any]


async def endpoint(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Read the body, answer 202."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


def requests_per_second(connections: int, seconds: float) -> float:
    """Return what one uvicorn process answers in a second with `endpoint`."""
    with _serving() as url:
        return load(Job(f"{url}/", BODY, connections, seconds, "bare")).per_second


def inserts_per_second(engine: Engine, tasks: int, seconds: float) -> float:
    """Return the rows that so many tasks insert in a second, with commits that are shared."""
    with engine.begin() as connection:
        connection.execute(text(CREATE))
    return uvloop.run(_insert(engine, tasks, seconds))


async def _insert(engine: Engine, tasks: int, seconds: float) -> float:
    def flush(batch: Sequence[str]) -> Sequence[bool]:
        with engine.begin() as connection:
            INSERT.run(connection, [{"id": item, "body": BODY} for item in batch])
        return [True] * len(batch)

    commits: GroupCommit[str, bool] = GroupCommit(flush, name="bare")
    ends = time.perf_counter() + seconds

    async def insert_on() -> int:
        count = 0
        while time.perf_counter() < ends:
            await commits.submit(new_id())
            count += 1
        return count

    rows = sum(await asyncio.gather(*(insert_on() for _ in range(tasks))))
    await commits.close()
    return rows / seconds


def way_seconds(engine: Engine, samples: int) -> float:
    """Return the median of two bare requests and three commits of a row, one after the other."""
    with engine.begin() as connection:
        connection.execute(text(CREATE))
    with _serving() as url:
        requests, commits = uvloop.run(_one_by_one(engine, f"{url}/", samples))
    return 2 * percentile(requests, 0.5) + 3 * percentile(commits, 0.5)


async def _one_by_one(engine: Engine, url: str, samples: int) -> tuple[list[float], list[float]]:
    requests, commits = [], []
    connection = await Connection.open(url)
    for number in range(samples):
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        await connection.ask(post(url, BODY, f"bare-{number}"))
        requests.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        with engine.begin() as transaction:
            INSERT.run(transaction, [{"id": new_id(), "body": BODY}])
        commits.append(time.perf_counter() - began)
    connection.close()
    return requests, commits


@contextmanager
def _serving() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "benchmarks.bare:endpoint", "--port", str(port)),
            *("--no-access-log", "--log-level", "warning"),
        ]
    )
    try:
        if not wait_until(lambda: _listens(port), START_SECONDS):
            raise SystemExit("the bare uvicorn endpoint does not start")
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port)):
            return True
    except OSError:
        return False
