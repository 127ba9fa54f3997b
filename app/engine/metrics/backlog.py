"""What stands in the database right now: live runs by status, the queue, the workers. Never looks at runs that are over."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, Engine, Integer, String

from app.core.clock import Clock
from app.core.ids import first_id_at
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.db.session import snapshot
from app.db.statement import ANY_ID, LAST_ID, Statement
from app.db.types import Id, Status, UtcDateTime
from app.engine.guards.store import COUNT_HELD
from app.engine.metrics.meters import PREFIX
from app.engine.store import database_now

KEEP_SECONDS: Final = 2.0
"""How long an answer is good enough: scrapes from many sides cost no more than one."""
RECENT_SECONDS: Final = 60
LIVE: Final = tuple(status for status in RunStatus if status not in FINAL_RUN_STATUSES)

# Each counts along a partial index (runs_due, runs_parked, runs_claimed), however long the history is.
QUEUED = Statement(
    """
    SELECT count(*) AS runs, min(CASE WHEN started_at IS NULL THEN created_at END) AS oldest FROM runs
    WHERE worker_id IS NULL AND wake_at IS NOT NULL AND status = 'queued'
    """,
    returns={"runs": Integer(), "oldest": UtcDateTime()},
)
PARKED = Statement(
    "SELECT status, count(*) AS runs FROM runs WHERE status IN ('waiting', 'paused') GROUP BY status",
    returns={"status": Status(RunStatus), "runs": Integer()},
)
HELD = Statement(
    f"""
    SELECT worker_id, count(*) AS runs FROM runs WHERE worker_id {ANY_ID} AND status = 'running'
    GROUP BY worker_id
    """,  # noqa: S608 - a constant of ours
    returns={"worker_id": Id(), "runs": Integer()},
)
# Along the primary key: ids sort by time.
RECENT = Statement(
    f"SELECT status, count(*) AS runs FROM runs WHERE id BETWEEN :first AND {LAST_ID} GROUP BY status",  # noqa: S608 - a constant of ours
    takes={"first": Id()},
    returns={"status": Status(RunStatus), "runs": Integer()},
)
WORKERS = Statement(
    "SELECT id, host, pid, started_at FROM workers WHERE lease_expires_at > :now ORDER BY started_at, id",
    takes={"now": UtcDateTime()},
    returns={"id": Id(), "host": String(), "pid": Integer(), "started_at": UtcDateTime()},
)


@dataclass(frozen=True, slots=True)
class LivingWorker:
    """A worker whose lease stands, and how many runs it holds."""

    id: str
    host: str
    pid: int
    started_at: datetime
    runs: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What stands in the database at one moment. `oldest` is how long a run has waited for its first claim."""

    at: datetime
    runs: Mapping[RunStatus, int]
    oldest: timedelta
    workers: tuple[LivingWorker, ...]
    held: int = 0
    """How many runs kill switches hold, or whatever else guards runs."""

    def families(self) -> Iterable[Metric]:
        """Yield it as gauges."""
        runs = GaugeMetricFamily(
            f"{PREFIX}runs", "Runs that are not over, by status.", labels=["status"]
        )
        for status, count in self.runs.items():
            runs.add_metric([status.value], count)
        yield runs
        yield GaugeMetricFamily(
            f"{PREFIX}queue_depth", "Runs that no worker holds yet.", self.runs[RunStatus.QUEUED]
        )
        yield GaugeMetricFamily(
            f"{PREFIX}queue_oldest_seconds",
            "How long the oldest run has waited for its first claim.",
            self.oldest.total_seconds(),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}runs_held",
            "Paused runs that go on by themselves once a kill switch is lifted.",
            self.held,
        )
        yield GaugeMetricFamily(
            f"{PREFIX}workers", "Worker processes whose lease stands.", len(self.workers)
        )


class BacklogReader:
    """Reads the backlog, for any thread, at most once in two seconds."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._last: Backlog | None = None
        self._good_until = 0.0

    def read(self) -> Backlog:
        """Return what stood there two seconds ago or later.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        with self._lock:
            if self._last is None or self._clock.monotonic() >= self._good_until:
                with snapshot(self._engine) as connection:
                    self._last = read_backlog(connection)
                self._good_until = self._clock.monotonic() + KEEP_SECONDS
            return self._last


def read_recent(connection: Connection, now: datetime) -> Mapping[RunStatus, int]:
    """Return how many runs of the last minute there are, by status."""
    first = first_id_at(now - timedelta(seconds=RECENT_SECONDS))
    return {row.status: row.runs for row in RECENT.run(connection, first=first)}


def read_backlog(connection: Connection) -> Backlog:
    """Return what stands in the database; to be at one moment, it must be read in a `snapshot`."""
    now = database_now(connection)
    queued = QUEUED.run(connection)[0]
    held = {row.worker_id: row.runs for row in HELD.run(connection)}
    parked = {row.status: row.runs for row in PARKED.run(connection)}
    runs = dict.fromkeys(LIVE, 0) | parked
    runs[RunStatus.QUEUED], runs[RunStatus.RUNNING] = queued.runs, sum(held.values())
    oldest = max(timedelta(0), now - queued.oldest) if queued.oldest else timedelta(0)
    workers = tuple(
        LivingWorker(row.id, row.host, row.pid, row.started_at, held.get(row.id, 0))
        for row in WORKERS.run(connection, now=now)
    )
    return Backlog(now, runs, oldest, workers, COUNT_HELD.run(connection)[0].runs)
