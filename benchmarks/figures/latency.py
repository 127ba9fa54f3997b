"""One at a time: from the moment at which a webhook is sent to the moment at which its effect reaches a sink."""

import asyncio
import time

import uvloop

from benchmarks.bench import Bench
from benchmarks.figures.http import LOOPBACK
from benchmarks.findings import Findings, Row, at_most
from benchmarks.http_client import Connection, post
from benchmarks.percentiles import percentile
from benchmarks.platform import Platform, running
from benchmarks.shapes import BODY, calling
from benchmarks.sink import open_sink

WARM_UP = 50
PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.005


def measure(bench: Bench) -> Findings:
    """Send webhooks, each once the effect of the last one was seen."""
    with running(EGRESS_ALLOW=LOOPBACK) as platform:
        samples = uvloop.run(_effects(platform, bench.extent.samples))
    p50, p99 = (percentile(samples, share) * 1000 for share in (0.5, 0.99))
    note = f"the 4-node workflow, {len(samples)} one after the other"
    bare = (("the bare way", p50 / bench.bare_way_ms),)
    return Findings(
        [
            Row("webhook to effect, p50", p50, "ms", at_most(8), bare, note=note),
            Row("webhook to effect, p99", p99, "ms", at_most(25)),
        ]
    )


async def _effects(platform: Platform, count: int) -> list[float]:
    """Return the seconds from each webhook to its effect; the sink lives on the same loop, so there is one clock."""
    arrived = asyncio.Event()
    server, address = await open_sink(arrived.set)
    webhook = await asyncio.to_thread(platform.workflow, "latency", *calling(f"{address}/"))
    connection = await Connection.open(webhook)
    seconds = []
    for number in range(WARM_UP + count):
        arrived.clear()
        began = time.perf_counter()
        answer = asyncio.create_task(connection.ask(post(webhook, BODY, f"one-{number}")))
        await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
        seconds.append(time.perf_counter() - began)
        await answer
        await asyncio.sleep(PAUSE_SECONDS)  # its run ends before the next one begins
    connection.close()
    server.close()
    return seconds[WARM_UP:]
