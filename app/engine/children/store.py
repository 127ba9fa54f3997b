"""All SQL of waits for runs. A wait that its step has left while the run went on has no `on_due`: it is abandoned."""

from sqlalchemy import BigInteger, Integer, String

from app.core.statuses import RunStatus
from app.db.statement import Statement
from app.db.types import Id, Json, Status

WAIT_KEY = {"run_id": Id(), "path": String(), "attempt": Integer()}

_FROM_ENDED = """
    FROM waits w JOIN runs r ON r.id = w.child_run_id
    WHERE w.kind = 'run' AND w.resolution IS NULL AND w.on_due IS NOT NULL
      AND r.status IN ('succeeded', 'failed', 'cancelled', 'timed_out')
"""
_ENDED = f"""
    SELECT w.run_id, w.path, w.attempt, r.id AS child_id, r.status, r.output, r.output_artifact, r.output_bytes, r.error
    {_FROM_ENDED}
"""
_ENDED_COLUMNS = {
    **WAIT_KEY,
    "child_id": Id(),
    "status": Status(RunStatus),
    "output": Json,
    "output_artifact": String(),
    "output_bytes": BigInteger(),
    "error": Json,
}
# Waits for these runs, which are over.
FIND_ENDED_OF = Statement(
    f"{_ENDED} AND w.child_run_id {{among_ids}}",
    rows={"id": "uuid"},
    returns=_ENDED_COLUMNS,
)
# Waits for runs that are over, whoever has missed it.
FIND_ENDED = Statement(f"{_ENDED} LIMIT :batch", takes={"batch": Integer()}, returns=_ENDED_COLUMNS)
# Waits that their steps have left.
FIND_ABANDONED = Statement(
    """
    SELECT run_id, path, attempt, child_run_id FROM waits
    WHERE kind = 'run' AND resolution IS NULL AND on_due IS NULL LIMIT :batch
    """,
    takes={"batch": Integer()},
    returns={**WAIT_KEY, "child_run_id": Id()},
)
# When the first of them was.
FIRST_ENDED = f"SELECT min(r.finished_at) {_FROM_ENDED}"
FIRST_ABANDONED = (
    "SELECT min(created_at) FROM waits WHERE kind = 'run' AND resolution IS NULL AND on_due IS NULL"
)
FORGET_ABANDONED = Statement(
    """
    DELETE FROM waits
    WHERE run_id = :run_id AND path = :path AND attempt = :attempt AND kind = 'run' AND on_due IS NULL
    """,
    takes=WAIT_KEY,
)
