"""When a trigger is an earlier one come again: keys that count for a while, and inputs that have been worked on before."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, String

from app.core.statuses import RunStatus
from app.db.statement import Statement
from app.db.types import Id, Status, UtcDateTime

LOOKED_AT = ("id", "workflow_id", "idempotency_key", "input_hash")

# Of workflows that dedupe by input: the newest run of an equal input that has succeeded. A key that was seen before goes
# first: its run is the answer, whatever became of it.
FIND_SUCCEEDED = Statement(
    """
    SELECT v.id AS asked_by, max(CAST(r.id AS text)) AS run_id FROM {rows} JOIN runs r
        ON r.workflow_id = v.workflow_id AND r.input_hash = v.input_hash
    WHERE r.input_hash IS NOT NULL AND r.status = 'succeeded' AND (r.key_expires_at IS NULL OR r.key_expires_at > :now)
      AND NOT EXISTS (SELECT 1 FROM runs k
                      WHERE k.workflow_id = v.workflow_id AND k.idempotency_key = v.idempotency_key)
    GROUP BY v.id
    """,
    rows={"id": "uuid", "workflow_id": "uuid", "input_hash": "text", "idempotency_key": "text"},
    takes={"now": UtcDateTime()},
    returns={"asked_by": Id(), "run_id": Id()},
)
# Find the runs that hold the keys of those not inserted.
FIND_BY_KEY = Statement(
    """
    SELECT r.id, r.workflow_id, r.idempotency_key, r.status FROM runs r JOIN {rows}
    ON r.workflow_id = v.workflow_id AND r.idempotency_key = v.idempotency_key
    """,
    rows={"workflow_id": "uuid", "idempotency_key": "text"},
    returns={
        "id": Id(),
        "workflow_id": Id(),
        "idempotency_key": String(),
        "status": Status(RunStatus),
    },
)
# Take expired keys from the runs that hold them, so that they can be used again. A run that is being written just now
# keeps its key a little longer: nobody waits for it.
FREE_KEYS = Statement(
    """
    UPDATE runs SET idempotency_key = NULL, input_hash = NULL, key_expires_at = NULL
    WHERE id IN (SELECT id FROM runs WHERE (workflow_id, idempotency_key) IN (SELECT workflow_id, idempotency_key FROM {rows})
                 AND idempotency_key IS NOT NULL AND key_expires_at <= :now {skip_locked})
    RETURNING id
    """,
    rows={"workflow_id": "uuid", "idempotency_key": "text"},
    takes={"now": UtcDateTime()},
    returns={"id": Id()},
)
# The same for all keys, from time to time: they need not be kept.
EXPIRE_KEYS = Statement(
    """
    UPDATE runs SET idempotency_key = NULL, input_hash = NULL, key_expires_at = NULL
    WHERE id IN (SELECT id FROM runs WHERE key_expires_at IS NOT NULL AND key_expires_at <= :now
                 ORDER BY key_expires_at LIMIT :batch {skip_locked})
    RETURNING id
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)


def find_succeeded(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, str]:
    """Return, by the ids of the rows, the runs that have worked on their inputs already."""
    found = FIND_SUCCEEDED.run(connection, _without_inputs(rows), now=now)
    return {row.asked_by: row.run_id for row in found}


def find_by_key(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, RunStatus]]:
    """Return, by the ids of those rows whose keys are held, the runs that hold them, and where those stand."""
    if not rows:
        return {}
    found = {
        (row.workflow_id, row.idempotency_key): (row.id, row.status)
        for row in FIND_BY_KEY.run(connection, _without_inputs(rows))
    }
    keys = {row["id"]: (row["workflow_id"], row["idempotency_key"]) for row in rows}
    return {row_id: found[key] for row_id, key in keys.items() if key in found}


def free_expired_keys(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> bool:
    """Free those keys of the rows whose time is up; tells whether there were any."""
    return bool(FREE_KEYS.run(connection, _without_inputs(rows), now=now))


def expire_keys(connection: Connection, now: datetime, batch: int) -> int:
    """Forget keys and input hashes whose time is up; returns how many runs held them."""
    return len(EXPIRE_KEYS.run(connection, now=now, batch=batch))


def _without_inputs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in LOOKED_AT} for row in rows]
