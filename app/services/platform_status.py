"""What operators may see of the whole platform: the numbers that Prometheus gets, as one answer."""

from dataclasses import asdict

from sqlalchemy import Engine
from sqlmodel import Session

from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.engine.metrics.api import ApiMetrics
from app.engine.metrics.backlog import RECENT_SECONDS, read_recent
from app.schemas.admin import PlatformStatus, Processed, WorkerForm
from app.services.kill_switches import global_mode, set_switches


def platform_status(engine: Engine, metrics: ApiMetrics) -> PlatformStatus:
    """Return what the platform does right now."""
    backlog = metrics.backlog.read()
    with Session(engine) as session:
        recent = read_recent(session.connection(), backlog.at)
        switches = set_switches(session, backlog.at)
    ended = {status: recent.get(status, 0) for status in RunStatus if status in FINAL_RUN_STATUSES}
    return PlatformStatus(
        mode=global_mode(switches),
        kill_switches=switches,
        held=backlog.held,
        at=backlog.at,
        runs=dict(backlog.runs),
        queue_depth=backlog.runs[RunStatus.QUEUED],
        queue_hints=metrics.hints(),
        oldest_queued_seconds=backlog.oldest.total_seconds(),
        workers=[WorkerForm(**asdict(worker)) for worker in backlog.workers],
        processed=Processed(seconds=RECENT_SECONDS, accepted=sum(recent.values()), ended=ended),
    )
