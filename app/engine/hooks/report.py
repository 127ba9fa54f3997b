"""What a hook is told of the run that has ended. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row

from app.core.statuses import RunStatus
from app.engine.planning.record import rfc3339

Event = Literal["on_success", "on_failure"]
EVENTS: dict[RunStatus, Event] = {
    RunStatus.SUCCEEDED: "on_success",
    RunStatus.FAILED: "on_failure",
    RunStatus.TIMED_OUT: "on_failure",
}

GONE = "The run was retried: its next end calls again."


def event_of(row: Row[Any]) -> Event | None:
    """Return which hooks a run's end calls; a cancelled one calls none."""
    return EVENTS.get(row.status)


def report_of(row: Row[Any]) -> dict[str, Any]:
    """Return a run that is over as JSON: the input of a hook's workflow, and the body for its URL."""
    return {
        "event": event_of(row),
        "run": {
            "id": row.id,
            "status": row.status.value,
            "workflow_id": row.workflow_id,
            "workflow_name": row.workflow_name,
            "version": row.version,
            "trigger": row.trigger_kind.value,
            "output": _output(row),
            "error": row.error,
            "created_at": _time(row.created_at),
            "started_at": _time(row.started_at),
            "finished_at": _time(row.finished_at),
        },
    }


def targets_of(row: Row[Any]) -> Iterator[tuple[Literal["workflow", "url"], str]]:
    """Yield what is to be called, each once."""
    for hook in row.hooks:
        if hook.get("workflow"):
            yield "workflow", hook["workflow"]
        if hook.get("url"):
            yield "url", hook["url"]


def _output(row: Row[Any]) -> Any:
    if row.output_artifact is None:
        return row.output
    url = f"/api/v1/runs/{row.id}/artifacts/{row.output_artifact}"
    return {"$artifact": {"sha256": row.output_artifact, "bytes": row.output_bytes, "url": url}}


def _time(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)
