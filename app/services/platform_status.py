"""What operators may see of the whole platform: the numbers that Prometheus gets, as one answer."""

from dataclasses import asdict

from sqlalchemy import Engine

from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.engine.metrics.api import ApiMetrics
from app.engine.metrics.backlog import RECENT_SECONDS, read_recent
from app.schemas.admin import PlatformStatus, Processed, WorkerForm


def platform_status(engine: Engine, metrics: ApiMetrics) -> PlatformStatus:
    """Return what the platform does right now."""
    backlog = metrics.backlog.read()
    with engine.connect() as connection:
        recent = read_recent(connection, backlog.at)
    ended = {status: recent.get(status, 0) for status in RunStatus if status in FINAL_RUN_STATUSES}
    return PlatformStatus(
        at=backlog.at,
        runs=dict(backlog.runs),
        queue_depth=backlog.runs[RunStatus.QUEUED],
        queue_hints=metrics.hints(),
        oldest_queued_seconds=backlog.oldest.total_seconds(),
        workers=[WorkerForm(**asdict(worker)) for worker in backlog.workers],
        processed=Processed(seconds=RECENT_SECONDS, accepted=sum(recent.values()), ended=ended),
    )
