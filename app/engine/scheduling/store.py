"""All SQL of schedules."""

from sqlalchemy import Boolean, Integer, String

from app.core.statuses import Misfire
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime

# Hold the schedules whose time has come, each worker passing over what another holds.
LOCK_DUE = Statement(
    """
    SELECT id FROM schedules WHERE enabled AND next_fire_at IS NOT NULL AND next_fire_at <= :now
    ORDER BY next_fire_at LIMIT :batch {skip_locked}
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
NEXT_DUE = "SELECT min(next_fire_at) FROM schedules WHERE enabled AND next_fire_at IS NOT NULL"
# Read what is held, as it stands now, with the workflow that it starts. (One that another worker has fired between its
# reading and our hold is not due any more.)
LOAD_DUE = Statement(
    """
    SELECT s.id, s.owner_id, s.workflow_id, s.cron, s.timezone, s.input, s.misfire, s.next_fire_at,
           w.enabled AS workflow_enabled, w.deleted_at, w.context_required, u.email AS started_by, versions.id AS version_id, versions.version
    FROM {rows} JOIN schedules s ON s.id = v.id JOIN workflows w ON w.id = s.workflow_id
    JOIN workflow_versions versions ON versions.workflow_id = w.id AND versions.version = w.version
    LEFT JOIN users u ON u.id = COALESCE(s.saved_by, s.owner_id)
    WHERE s.enabled AND s.next_fire_at <= :now ORDER BY s.next_fire_at
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime()},
    returns={
        "id": Id(),
        "owner_id": Id(),
        "workflow_id": Id(),
        "cron": String(),
        "timezone": String(),
        "input": Json,
        "misfire": Status(Misfire),
        "next_fire_at": UtcDateTime(),
        "workflow_enabled": Boolean(),
        "deleted_at": UtcDateTime(),
        "context_required": Json,
        "started_by": String(),
        "version_id": Id(),
        "version": Integer(),
    },
)
# Move on: one that has no next time has ended.
MOVE_ON = Statement(
    """
    UPDATE schedules SET next_fire_at = v.next_fire_at, enabled = (v.next_fire_at IS NOT NULL),
                         last_fire_at = COALESCE(v.last_fire_at, schedules.last_fire_at),
                         last_run_id = COALESCE(v.last_run_id, schedules.last_run_id), last_error = v.last_error
    FROM {rows} WHERE schedules.id = v.id
    """,
    rows={
        "id": "uuid",
        "next_fire_at": "timestamptz",
        "last_fire_at": "timestamptz",
        "last_run_id": "uuid",
        "last_error": "text",
    },
)
