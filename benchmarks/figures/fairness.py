"""One owner floods the queue; how long do another owner's runs wait for their start?"""

from sqlalchemy import text

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.findings import Findings, Row, at_most
from benchmarks.load import Job, figures_of, load, loading
from benchmarks.percentiles import percentile
from benchmarks.platform import Platform, running
from benchmarks.queries import backlog, settled
from benchmarks.shapes import BODY, chain

OTHERS_PER_SECOND = 20.0
OTHERS_SECONDS_PER_FLOOD = 1 / 2_000
DELAYS = """
SELECT extract(epoch FROM r.started_at - r.created_at) FROM runs r JOIN workflows w ON w.id = r.workflow_id
 WHERE w.name = 'other' ORDER BY r.id
"""


def measure(bench: Bench) -> Findings:
    """Trigger another owner's workflow at a steady pace while the flood comes in and is worked off."""
    flood = bench.extent.flood
    seconds = flood * OTHERS_SECONDS_PER_FLOOD
    with running() as platform:
        other = platform.as_another("other@example.com").workflow("other", *chain(3))
        flooding = platform.workflow("flood", *chain(3))
        bench.warm_up(platform.engine, flooding)
        with loading(
            Job(flooding, BODY, CONNECTIONS, seconds * 100, "flood", most=flood)
        ) as process:
            load(Job(other, BODY, 8, seconds, "other", rate=OTHERS_PER_SECOND))
            left = backlog(platform.engine)
            figures_of(process)
        settled(platform.engine)
        delays = _delays(platform)
    p50, p99 = (percentile(delays, share) for share in (0.5, 0.99))
    note = (
        f"{len(delays)} runs beside a flood of {flood:,}; p50 {p50 * 1000:.0f} ms; "
        f"{left:,} of the flood were unfinished when the last came"
    )
    return Findings([Row("start delay beside a flood, p99", p99, "s", at_most(1), note=note)])


def _delays(platform: Platform) -> list[float]:
    """Return the seconds from trigger to start of each run of the other owner."""
    with platform.engine.connect() as connection:
        return [float(row[0]) for row in connection.execute(text(DELAYS))]
