"""The SQL of a run's concurrency: accept, claim, fence, checkpoint, release, sweep. Workers' leases: `lease_store.py`.

Every function runs inside the caller's transaction. Times come from the caller's clock, which follows the database's.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Integer, Row, String

from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime

HINT_GRACE_SECONDS = 5.0
"""After so long without a claim, the hint of a queued run counts as lost."""
RUN_COLUMNS = {
    "id": Id(),
    "owner_id": Id(),
    "workflow_id": Id(),
    "version_id": Id(),
    "version": Integer(),
    "trigger_kind": Status(TriggerKind),
    "input": Json,
    "epoch": Integer(),
    "depth": Integer(),
    "started_by": String(),
    "started_at": UtcDateTime(),
    "created_at": UtcDateTime(),
}
# In the order of the fields of `planning.record.StepState`, between the run and what the record keeps otherwise.
STEP_COLUMNS = {
    "run_id": Id(),
    "path": String(),
    "type": String(),
    "status": Status(AttemptStatus),
    "attempt": Integer(),
    "seq": Integer(),
    "port": String(),
    "output": Json,
    "error": Json,
    "retry_at": UtcDateTime(),
    "started_at": UtcDateTime(),
    "finished_at": UtcDateTime(),
    "output_artifact": String(),
    "output_bytes": BigInteger(),
    "wait": Json,
    "superseded": Boolean(),
}

# Accept runs: a key that its workflow has seen already inserts nothing.
INSERT_RUNS = Statement(
    """
    INSERT INTO runs (id, owner_id, workflow_id, version_id, version, trigger_kind, status, input, idempotency_key,
                      key_expires_at, input_hash, context, epoch, wake_at, created_at, depth, parent_run_id, parent_path,
                      started_by)
    SELECT id, owner_id, workflow_id, version_id, version, trigger_kind, 'queued', input, idempotency_key,
           key_expires_at, input_hash, context, 0, wake_at, created_at, depth, parent_run_id, parent_path,
           started_by
    FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    RETURNING id
    """,
    rows={
        "id": "uuid",
        "owner_id": "uuid",
        "workflow_id": "uuid",
        "version_id": "uuid",
        "version": "integer",
        "trigger_kind": "text",
        "input": "json",
        "idempotency_key": "text",
        "context": "json",
        "key_expires_at": "timestamptz",
        "input_hash": "text",
        "wake_at": "timestamptz",
        "created_at": "timestamptz",
        "depth": "integer",
        "parent_run_id": "uuid",
        "parent_path": "text",
        "started_by": "text",
    },
    returns={"id": Id()},
    hot=True,
)
# Claim by compare-and-set: only what nobody holds, only for a worker whose lease stands; the epoch fences the last owner.
CLAIM = Statement(
    """
    UPDATE runs SET status = 'running', worker_id = :worker_id, epoch = epoch + 1, wake_at = NULL, waiting_for = NULL,
                    signalled = false, started_at = COALESCE(started_at, :now)
    WHERE id IN (SELECT id FROM runs WHERE id {among_ids} AND worker_id IS NULL AND status = 'queued'
                 {skip_locked})
      AND EXISTS (SELECT 1 FROM workers WHERE workers.id = :worker_id AND workers.lease_expires_at > :now)
    RETURNING id, owner_id, workflow_id, version_id, version, trigger_kind, input, epoch, depth, started_by, started_at,
              created_at
    """,
    rows={"id": "uuid"},
    takes={"worker_id": Id(), "now": UtcDateTime()},
    returns=RUN_COLUMNS,
    hot=True,
)
# Load what is recorded of runs that were begun before.
LOAD_STEPS = Statement(
    """
    SELECT s.run_id, s.path, s.type, s.status, s.attempt, s.seq, s.port, s.output, s.error, s.retry_at, s.started_at,
           s.finished_at, s.output_artifact, s.output_bytes, s.wait, s.superseded
    FROM steps s WHERE s.run_id {among_ids}
    """,
    rows={"id": "uuid"},
    returns=STEP_COLUMNS,
)
# Load the definitions of versions that this process has not seen yet.
LOAD_VERSIONS = Statement(
    """
    SELECT versions.id, versions.definition, w.name FROM workflow_versions versions
    JOIN workflows w ON w.id = versions.workflow_id WHERE versions.id {among_ids}
    """,
    rows={"id": "uuid"},
    returns={"id": Id(), "definition": Json, "name": String()},
)
# Fence: of the runs to be written, those that this worker still holds in this epoch; locked until the commit, in the
# order in which controls lock them.
FENCE = Statement(
    """
    SELECT r.id, r.status FROM runs r WHERE r.worker_id = :worker_id AND r.status IN ('running', 'paused')
      AND r.id {among_ids} AND (r.id, r.epoch) IN (SELECT id, epoch FROM {rows}) ORDER BY r.id {for_update}
    """,
    rows={"id": "uuid", "epoch": "integer"},
    takes={"worker_id": Id()},
    returns={"id": Id(), "status": Status(RunStatus)},
    hot=True,
)
# The same fence for workers that expect no surprise: it fails unless all of these runs are held and running, and need not
# be read before what it guards is sent. Dividing by zero is the one way to fail that every Postgres has without a function.
FENCE_ALL = Statement(
    """
    SELECT 1 / (count(*) = :runs)::integer FROM (
      SELECT r.id FROM runs r WHERE r.worker_id = :worker_id AND r.status = 'running'
        AND r.id {among_ids} AND (r.id, r.epoch) IN (SELECT id, epoch FROM {rows}) ORDER BY r.id {for_update}
    ) held
    """,
    rows={"id": "uuid", "epoch": "integer"},
    takes={"worker_id": Id(), "runs": Integer()},
    hot=True,
)
NOT_ALL_HELD = "22012"
"""What Postgres calls the failure of `FENCE_ALL`: division by zero, which nothing else of ours does."""
# Checkpoint: record attempts that start, and the end of those that ran. A result that is recorded never changes.
UPSERT_STEPS = Statement(
    """
    INSERT INTO steps (run_id, path, attempt, seq, type, status, port, input, wait, changed, superseded, output,
                       output_artifact, output_bytes, error, retry_at, started_at, finished_at)
    SELECT run_id, path, attempt, seq, type, status, port, input, wait, changed, false, output,
           output_artifact, output_bytes, error, retry_at, started_at, finished_at
    FROM {rows} WHERE true
    ON CONFLICT (run_id, path, attempt) DO UPDATE
    SET status = excluded.status, port = excluded.port, output = excluded.output,
        output_artifact = excluded.output_artifact, output_bytes = excluded.output_bytes, error = excluded.error,
        retry_at = excluded.retry_at, finished_at = excluded.finished_at, wait = excluded.wait,
        input = COALESCE(excluded.input, steps.input), changed = excluded.changed
    WHERE steps.status IN ('running', 'waiting')
    """,
    rows={
        "run_id": "uuid",
        "path": "text",
        "attempt": "integer",
        "seq": "integer",
        "type": "text",
        "status": "text",
        "port": "text",
        "input": "json",
        "wait": "json",
        "changed": "bigint",
        "output": "json",
        "output_artifact": "text",
        "output_bytes": "bigint",
        "error": "json",
        "retry_at": "timestamptz",
        "started_at": "timestamptz",
        "finished_at": "timestamptz",
    },
    hot=True,
)
# Keep the lines that attempts wrote, with their result.
INSERT_LOGS = Statement(
    """
    INSERT INTO run_logs (run_id, path, attempt, line, level, message, data, at)
    SELECT run_id, path, attempt, line, level, message, data, at FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    """,
    rows={
        "run_id": "uuid",
        "path": "text",
        "attempt": "integer",
        "line": "integer",
        "level": "text",
        "message": "text",
        "data": "json",
        "at": "timestamptz",
    },
    hot=True,
)
# End, park or give back runs: they leave this worker in the transaction of their last checkpoint. A run that is released
# stays paused unless it was resumed meanwhile; one that would wait although a wait of its has just ended is due at once.
# One that is over is marked with what its workflow wants to be called, as it stands at that moment; one that was given away
# in between says nothing of the runs of its earlier owner.
LEAVE = Statement(
    """
    UPDATE runs SET status = CASE WHEN v.status = 'released' AND runs.status = 'paused' THEN 'paused'
                                  WHEN v.status = 'released' THEN 'queued'
                                  WHEN v.status = 'waiting' AND EXISTS (
                                       SELECT 1 FROM waits WHERE waits.run_id = v.id AND waits.resolution IS NOT NULL)
                                  THEN 'queued' ELSE v.status END,
                    wake_at = CASE WHEN v.status = 'released' AND runs.status = 'paused' THEN NULL
                                   WHEN v.status = 'released' THEN runs.created_at
                                   WHEN v.status = 'waiting' AND EXISTS (
                                        SELECT 1 FROM waits WHERE waits.run_id = v.id AND waits.resolution IS NOT NULL)
                                   THEN runs.created_at ELSE v.wake_at END,
                    output = v.output, output_artifact = v.output_artifact, output_bytes = v.output_bytes, error = v.error,
                    waiting_for = v.waiting_for, finished_at = v.finished_at, worker_id = NULL, signalled = false,
                    held_by = v.held_by,
                    hooks = CASE WHEN v.status IN ('succeeded', 'failed', 'timed_out') THEN
                              (SELECT CASE v.status WHEN 'succeeded' THEN w.on_success ELSE w.on_failure END
                               FROM workflows w WHERE w.id = runs.workflow_id AND w.owner_id = runs.owner_id) END
    FROM {rows} WHERE runs.id = v.id AND runs.id {among_ids}
    """,
    rows={
        "id": "uuid",
        "status": "text",
        "output": "json",
        "output_artifact": "text",
        "output_bytes": "bigint",
        "error": "json",
        "waiting_for": "json",
        "wake_at": "timestamptz",
        "finished_at": "timestamptz",
        "held_by": "uuid",
    },
    hot=True,
)
# Sweep: what is due and unclaimed; its next chance comes at `:again`, so that a lost hint costs no more than that.
TAKE_DUE = Statement(
    """
    UPDATE runs SET status = 'queued', waiting_for = NULL, wake_at = :again
    WHERE id IN (SELECT id FROM runs WHERE worker_id IS NULL AND wake_at IS NOT NULL AND wake_at <= :now
                 AND (status = 'waiting' OR wake_at <= :lost_before) ORDER BY wake_at LIMIT :batch {skip_locked})
    RETURNING id
    """,
    takes={
        "now": UtcDateTime(),
        "lost_before": UtcDateTime(),
        "again": UtcDateTime(),
        "batch": Integer(),
    },
    returns={"id": Id()},
)
NEXT_DUE = "SELECT min(wake_at) FROM runs WHERE worker_id IS NULL AND wake_at IS NOT NULL"
# What time it is.
POSTGRES_NOW = Statement("SELECT clock_timestamp() AS now", returns={"now": UtcDateTime()})
SQLITE_NOW = Statement(
    "SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now') AS now", returns={"now": UtcDateTime()}
)


def database_now(connection: Connection) -> datetime:
    """Return the database's clock."""
    clock = POSTGRES_NOW if connection.dialect.name == "postgresql" else SQLITE_NOW
    now: datetime = clock.run(connection)[0][0]
    return now


def fence(
    connection: Connection, worker_id: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, RunStatus]:
    """Return the runs in `rows` (id, epoch) that the worker still holds, and whether each is running or paused."""
    return {row.id: row.status for row in FENCE.run(connection, rows, worker_id=worker_id)}


def fence_all(connection: Connection, worker_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let the transaction fail unless the worker holds each of the runs in `rows` (id, epoch), and all are running."""
    FENCE_ALL.run(connection, rows, worker_id=worker_id, runs=len(rows))


def claim(
    connection: Connection, worker_id: str, run_ids: Sequence[str], now: datetime
) -> Sequence[Row[Any]]:
    """Take those of the runs that are queued and unclaimed; returns their rows, with the new epoch."""
    return CLAIM.run(
        connection, [{"id": run_id} for run_id in run_ids], worker_id=worker_id, now=now
    )
