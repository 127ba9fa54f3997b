"""All SQL of controls. A worker that holds the run learns of it: its writes are fenced by the epoch, or by the status."""

from sqlalchemy import BigInteger, Integer, String

from app.core.statuses import AttemptStatus, RunStatus
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime
from app.engine.waiting.store import NOT_TOLD

# Cancel what is not over: whoever holds it holds it no longer. Nothing ends before it started, although clocks differ a little
# and a claim may have been committed after `:now` was read.
CANCEL = Statement(
    """
    UPDATE runs SET status = 'cancelled', worker_id = NULL, epoch = epoch + 1, wake_at = NULL, waiting_for = NULL,
                    signalled = false, held_by = NULL, control = :control,
                    finished_at = CASE WHEN started_at > :now THEN started_at ELSE :now END
    WHERE id {among_ids} AND status IN ('queued', 'running', 'waiting', 'paused')
    RETURNING id
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime(), "control": Json},
    returns={"id": Id()},
)
# Their steps that run or wait end with them. (`changed` goes on from the new epoch: `:commits` are counted per epoch.)
CANCEL_STEPS = Statement(
    """
    UPDATE steps SET status = 'cancelled', finished_at = CASE WHEN started_at > :now THEN started_at ELSE :now END,
                     changed = (SELECT runs.epoch FROM runs WHERE runs.id = steps.run_id) * :commits
    WHERE run_id {among_ids} AND status IN ('running', 'waiting')
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime(), "commits": BigInteger()},
)
# Runs that steps of these runs wait for.
FIND_CHILDREN = Statement(
    f"""
    SELECT child_run_id AS id FROM waits
    WHERE kind = 'run' AND child_run_id IS NOT NULL AND run_id {{among_ids}} AND {NOT_TOLD}
    """,  # noqa: S608 - a constant of ours
    rows={"id": "uuid"},
    returns={"id": Id()},
)
# Pause what is not over: at once, whoever holds it. Its waits stay open. What a guard has paused, a person then has.
PAUSE = Statement(
    """
    UPDATE runs SET status = 'paused', wake_at = NULL, held_by = NULL, control = :control,
                    waiting_for = CASE WHEN held_by IS NULL THEN waiting_for END
    WHERE id {among_ids} AND (status IN ('queued', 'running', 'waiting') OR (status = 'paused' AND held_by IS NOT NULL))
    RETURNING id
    """,
    rows={"id": "uuid"},
    takes={"control": Json},
    returns={"id": Id()},
)
# Resume what is paused: queued, unless a worker holds it still; that one looks at the waits that have ended meanwhile.
RESUME = Statement(
    """
    UPDATE runs SET status = CASE WHEN worker_id IS NULL THEN 'queued' ELSE 'running' END,
                    wake_at = CASE WHEN worker_id IS NULL THEN :again END,
                    signalled = (worker_id IS NOT NULL), waiting_for = NULL, held_by = NULL, control = :control
    WHERE id {among_ids} AND status = 'paused'
    RETURNING id, status
    """,
    rows={"id": "uuid"},
    takes={"again": UtcDateTime(), "control": Json},
    returns={"id": Id(), "status": Status(RunStatus)},
)
# Hold runs that are to be retried or replayed, and what is needed to judge it.
HOLD = Statement(
    """
    SELECT id, status, epoch, version_id, started_at FROM runs WHERE id {among_ids} ORDER BY id {for_update}
    """,
    rows={"id": "uuid"},
    returns={
        "id": Id(),
        "status": Status(RunStatus),
        "epoch": Integer(),
        "version_id": Id(),
        "started_at": UtcDateTime(),
    },
)
# Their attempts that count, without what these have brought.
LOAD_OUTLINE = Statement(
    """
    SELECT s.run_id, s.path, s.type, s.status, s.attempt, s.seq, s.retry_at, s.started_at
    FROM steps s WHERE s.run_id {among_ids} AND NOT s.superseded
    """,
    rows={"id": "uuid"},
    returns={
        "run_id": Id(),
        "path": String(),
        "type": String(),
        "status": Status(AttemptStatus),
        "attempt": Integer(),
        "seq": Integer(),
        "retry_at": UtcDateTime(),
        "started_at": UtcDateTime(),
    },
)
# Put failed runs back on the queue, in a new epoch.
RETRY = Statement(
    """
    UPDATE runs SET status = 'queued', epoch = epoch + 1, wake_at = :again, finished_at = NULL, error = NULL, output = NULL,
                    output_artifact = NULL, output_bytes = NULL, control = :control
    WHERE id {among_ids} AND status = 'failed'
    """,
    rows={"id": "uuid"},
    takes={"again": UtcDateTime(), "control": Json},
)
# Make attempts history. A skipped step was never tried: its row goes, for the next skip would have the same key.
FORGET_SKIPPED = Statement(
    "DELETE FROM steps WHERE attempt = 0 AND (run_id, path) IN (SELECT run_id, path FROM {rows})",
    rows={"run_id": "uuid", "path": "text"},
)
SUPERSEDE = Statement(
    """
    UPDATE steps SET superseded = true, changed = v.changed FROM {rows}
    WHERE steps.run_id = v.run_id AND steps.path = v.path AND NOT steps.superseded
    """,
    rows={"run_id": "uuid", "path": "text", "changed": "bigint"},
)
# Make a new run the replay of another one. `:epoch` is 1 when it has a past: whoever claims it then loads that.
MAKE_REPLAY = Statement(
    """
    UPDATE runs SET replay_of = :replay_of, epoch = :epoch WHERE id = :id
    """,
    takes={"id": Id(), "replay_of": Id(), "epoch": Integer()},
)
# Give a replay the results that it keeps.
COPY_RESULTS = Statement(
    """
    INSERT INTO steps (run_id, path, attempt, seq, type, status, port, input, wait, changed, superseded, output,
                       output_artifact, output_bytes, error, retry_at, started_at, finished_at)
    SELECT v.run_id, s.path, s.attempt, s.seq, s.type, s.status, s.port, s.input, s.wait, v.changed, false, s.output,
           s.output_artifact, s.output_bytes, s.error, NULL, s.started_at, s.finished_at
    FROM steps s JOIN {rows} ON s.run_id = v.replay_of AND s.path = v.path AND s.attempt = v.attempt
    """,
    rows={
        "run_id": "uuid",
        "replay_of": "uuid",
        "path": "text",
        "attempt": "integer",
        "changed": "bigint",
    },
)
# What a replay keeps that was done, in order.
KEPT_RESULTS = Statement(
    "SELECT path, type FROM steps WHERE run_id = :run_id AND status = 'succeeded' ORDER BY seq",
    takes={"run_id": Id()},
    returns={"path": String(), "type": String()},
)
REPLAYED = Statement(
    "SELECT replay_of FROM runs WHERE id = :id AND replay_of IS NOT NULL",
    takes={"id": Id()},
    returns={"replay_of": Id()},
)
CHILDREN = Statement(
    "SELECT id, parent_run_id, parent_path FROM runs WHERE parent_run_id {among_ids}",
    rows={"id": "uuid"},
    returns={"id": Id(), "parent_run_id": Id(), "parent_path": String()},
)
WHO_ASKED = Statement(
    "SELECT DISTINCT run_id FROM approvals WHERE run_id {among_ids}",
    rows={"id": "uuid"},
    returns={"run_id": Id()},
)
