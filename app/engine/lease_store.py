"""The SQL of workers' leases: begin, renew, give up, and take the runs of those who did not.

A lease that has run out is deleted by whoever sees it first; the runs of a worker without one are anybody's.
"""

from sqlalchemy import Integer, String

from app.db.statement import ANY_ID, Statement
from app.db.types import Id, UtcDateTime

# A worker's lease: begun, renewed as long as nobody has reaped it (the row is gone then), and given up.
INSERT_WORKER = Statement(
    "INSERT INTO workers (id, host, pid, started_at, lease_expires_at) VALUES (:id, :host, :pid, :now, :until)",
    takes={
        "id": Id(),
        "host": String(),
        "pid": Integer(),
        "now": UtcDateTime(),
        "until": UtcDateTime(),
    },
)
RENEW_LEASE = Statement(
    "UPDATE workers SET lease_expires_at = :until WHERE id = :id RETURNING id",
    takes={"id": Id(), "until": UtcDateTime()},
    returns={"id": Id()},
)
DELETE_WORKER = Statement("DELETE FROM workers WHERE id = :id", takes={"id": Id()})
# Reap: forget workers whose lease ran out, then take every run whose worker is not there.
DELETE_DEAD_WORKERS = Statement(
    """
    DELETE FROM workers WHERE id IN (SELECT id FROM workers WHERE lease_expires_at <= :now {skip_locked})
    RETURNING id, host, pid
    """,
    takes={"now": UtcDateTime()},
    returns={"id": Id(), "host": String(), "pid": Integer()},
)
RELEASE_ORPHANS = Statement(
    f"""
    UPDATE runs SET status = CASE status WHEN 'paused' THEN 'paused' ELSE 'queued' END, worker_id = NULL,
                    wake_at = CASE status WHEN 'paused' THEN NULL ELSE :again END
    WHERE id IN (SELECT id FROM runs WHERE worker_id {ANY_ID}
                 AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = runs.worker_id)
                 LIMIT :batch {{skip_locked}})
    RETURNING id
    """,  # noqa: S608 - a constant of ours
    takes={"again": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
# Give back what is this worker's by the database but not in its hands: a claim was committed, its answer lost. What
# somebody else is writing just now is looked at next time.
RELEASE_STRAYS = Statement(
    """
    UPDATE runs SET status = CASE status WHEN 'paused' THEN 'paused' ELSE 'queued' END, worker_id = NULL,
                    wake_at = CASE status WHEN 'paused' THEN NULL ELSE :again END
    WHERE id IN (SELECT id FROM runs WHERE worker_id = :worker_id AND id NOT IN (SELECT id FROM {rows}) {skip_locked})
    RETURNING id
    """,
    rows={"id": "uuid"},
    takes={"worker_id": Id(), "again": UtcDateTime()},
    returns={"id": Id()},
)
