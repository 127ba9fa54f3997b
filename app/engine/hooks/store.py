"""All SQL of hooks. A run that is over carries in `hooks` what is still to be called; LEAVE has put it there."""

from sqlalchemy import BigInteger, Integer, String

from app.core.statuses import RunStatus, TriggerKind
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime

_ENDED = """
    SELECT r.id, r.owner_id, r.workflow_id, w.name AS workflow_name, r.version, r.trigger_kind, r.status, r.output,
           r.output_artifact, r.output_bytes, r.error, r.created_at, r.started_at, r.finished_at, r.depth, r.epoch,
           r.context, r.started_by, r.hooks
    FROM runs r JOIN workflows w ON w.id = r.workflow_id
"""
_ENDED_COLUMNS = {
    "id": Id(),
    "owner_id": Id(),
    "workflow_id": Id(),
    "workflow_name": String(),
    "version": Integer(),
    "trigger_kind": Status(TriggerKind),
    "status": Status(RunStatus),
    "output": Json,
    "output_artifact": String(),
    "output_bytes": BigInteger(),
    "error": Json,
    "created_at": UtcDateTime(),
    "started_at": UtcDateTime(),
    "finished_at": UtcDateTime(),
    "depth": Integer(),
    "epoch": Integer(),
    "context": Json,
    "started_by": String(),
    "hooks": Json,
}
# Runs that are over and whose hooks are not called yet, each for one worker.
TAKE_HOOKED = Statement(
    f"""{_ENDED}
    WHERE r.id IN (SELECT id FROM runs WHERE hooks IS NOT NULL AND finished_at IS NOT NULL
                   ORDER BY finished_at LIMIT :batch {{skip_locked}})
    """,  # noqa: S608 - a constant of ours
    takes={"batch": Integer()},
    returns=_ENDED_COLUMNS,
)
FIRST_HOOKED = (
    "SELECT min(finished_at) FROM runs WHERE hooks IS NOT NULL AND finished_at IS NOT NULL"
)
# Their hooks are called: in the transaction that makes the runs and the calls.
CLEAR_HOOKS = Statement("UPDATE runs SET hooks = NULL WHERE id {among_ids}", rows={"id": "uuid"})
# Calls to be made, and hooks that could not be started. A run that was retried and has ended again calls again.
PUT_CALLS = Statement(
    """
    INSERT INTO hook_calls (run_id, url, tries, next_try_at, last_error)
    SELECT run_id, url, 0, next_try_at, last_error FROM {rows} WHERE true
    ON CONFLICT (run_id, url) DO UPDATE
    SET tries = 0, next_try_at = excluded.next_try_at, answered_at = NULL, last_error = excluded.last_error
    """,
    rows={"run_id": "uuid", "url": "text", "next_try_at": "timestamptz", "last_error": "text"},
)
# Take calls that are due, of each owner in turn: whoever has many slow ones keeps nobody else's waiting. Should this worker
# die, they are due again at `:again`; what another worker is taking just now is passed over.
TAKE_CALLS = Statement(
    """
    UPDATE hook_calls SET tries = tries + 1, next_try_at = :again
    WHERE next_try_at <= :now AND (run_id, url) IN (
        SELECT run_id, url FROM hook_calls WHERE next_try_at <= :now AND (run_id, url) IN (
            SELECT run_id, url FROM (
                SELECT h.run_id, h.url, h.next_try_at,
                       ROW_NUMBER() OVER (PARTITION BY (SELECT r.owner_id FROM runs r WHERE r.id = h.run_id)
                                          ORDER BY h.next_try_at, h.run_id, h.url) AS nth
                FROM hook_calls h WHERE h.next_try_at IS NOT NULL AND h.next_try_at <= :now
            ) AS due ORDER BY nth, next_try_at, run_id, url LIMIT :batch)
        {skip_locked})
    RETURNING run_id, url, tries, next_try_at
    """,
    takes={"now": UtcDateTime(), "again": UtcDateTime(), "batch": Integer()},
    returns={"run_id": Id(), "url": String(), "tries": Integer(), "next_try_at": UtcDateTime()},
)
# Put calls off that are due, without a try.
POSTPONE_CALLS = Statement(
    """
    UPDATE hook_calls SET next_try_at = :again
    WHERE next_try_at <= :now AND (run_id, url) IN (SELECT run_id, url FROM hook_calls WHERE next_try_at <= :now {skip_locked})
    """,
    takes={"now": UtcDateTime(), "again": UtcDateTime()},
)
# Put calls off that were just taken, as if they had not been.
PUT_BACK_CALLS = Statement(
    """
    UPDATE hook_calls SET next_try_at = :again, tries = v.tries - 1
    FROM {rows} WHERE hook_calls.run_id = v.run_id AND hook_calls.url = v.url AND hook_calls.tries = v.tries
    """,
    rows={"run_id": "uuid", "url": "text", "tries": "integer"},
    takes={"again": UtcDateTime()},
)
NEXT_CALL = "SELECT min(next_try_at) FROM hook_calls WHERE next_try_at IS NOT NULL"
LOAD_ENDED = Statement(
    f"{_ENDED} WHERE r.finished_at IS NOT NULL AND r.id {{among_ids}}",
    rows={"id": "uuid"},
    returns=_ENDED_COLUMNS,
)
# Hold the calls of runs until the commit, in one order everywhere.
HOLD_CALLS = Statement(
    "SELECT run_id, url FROM hook_calls WHERE run_id {among_run_ids} ORDER BY run_id, url {for_update}",
    rows={"run_id": "uuid"},
    returns={"run_id": Id(), "url": String()},
)
# Make no more calls that tell an end of runs which are retried; a try that is under way is not waited for.
FORGET_CALLS = Statement(
    """
    UPDATE hook_calls SET next_try_at = NULL, last_error = :because
    WHERE run_id {among_run_ids} AND next_try_at IS NOT NULL
    """,
    rows={"run_id": "uuid"},
    takes={"because": String()},
)
# Write down what came of a try, unless another has begun since, or the run was retried: a try is known by its number, and
# by when it would have been made again.
SETTLE_CALLS = Statement(
    """
    UPDATE hook_calls SET next_try_at = v.next_try_at, answered_at = v.answered_at, last_error = v.last_error
    FROM {rows} WHERE hook_calls.run_id = v.run_id AND hook_calls.url = v.url AND hook_calls.tries = v.tries
      AND hook_calls.next_try_at = v.taken_until
    """,
    rows={
        "run_id": "uuid",
        "url": "text",
        "tries": "integer",
        "taken_until": "timestamptz",
        "next_try_at": "timestamptz",
        "answered_at": "timestamptz",
        "last_error": "text",
    },
)
