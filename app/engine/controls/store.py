"""All SQL of controls. A worker that holds the run learns of it: its writes are fenced by the epoch, or by the status."""

from sqlalchemy import BigInteger

from app.db.statement import Statement
from app.db.types import Id, Json, UtcDateTime

# Cancel what is not over: whoever holds it holds it no longer.
CANCEL = Statement(
    """
    UPDATE runs SET status = 'cancelled', worker_id = NULL, epoch = epoch + 1, wake_at = NULL, waiting_for = NULL,
                    signalled = false, finished_at = :now, control = :control
    WHERE id IN (SELECT id FROM {rows}) AND status IN ('queued', 'running', 'waiting', 'paused')
    RETURNING id
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime(), "control": Json},
    returns={"id": Id()},
)
# Their steps that run or wait end with them. (`changed` goes on from the new epoch: `:commits` are counted per epoch.)
CANCEL_STEPS = Statement(
    """
    UPDATE steps SET status = 'cancelled', finished_at = :now,
                     changed = (SELECT runs.epoch FROM runs WHERE runs.id = steps.run_id) * :commits
    WHERE run_id IN (SELECT id FROM {rows}) AND status IN ('running', 'waiting')
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime(), "commits": BigInteger()},
)
# Runs that steps of these runs wait for.
FIND_CHILDREN = Statement(
    """
    SELECT child_run_id AS id FROM waits
    WHERE kind = 'run' AND child_run_id IS NOT NULL AND run_id IN (SELECT id FROM {rows})
    """,
    rows={"id": "uuid"},
    returns={"id": Id()},
)
