"""All SQL of waits. Whoever ends one locks its run first, as a worker's checkpoint does: then nobody waits in a circle."""

from sqlalchemy import Integer, String

from app.core.statuses import RunStatus, WaitKind
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime

KEY = {"run_id": "uuid", "path": "text", "attempt": "integer"}
CLOSED = {"run_id": Id(), "path": String(), "attempt": Integer(), "kind": Status(WaitKind)}

# Begin waits, in the commit that suspends their steps.
OPEN = Statement(
    """
    INSERT INTO waits (run_id, path, attempt, owner_id, kind, due_at, on_due, data, event_type, correlation_id,
                       child_run_id, created_at, fresh)
    SELECT run_id, path, attempt, owner_id, kind, due_at, on_due, data, event_type, correlation_id, child_run_id,
           created_at, fresh
    FROM {rows} WHERE true ON CONFLICT DO NOTHING
    """,
    rows={
        **KEY,
        "owner_id": "uuid",
        "kind": "text",
        "due_at": "timestamptz",
        "on_due": "json",
        "data": "json",
        "event_type": "text",
        "correlation_id": "text",
        "child_run_id": "uuid",
        "created_at": "timestamptz",
        "fresh": "boolean",
    },
)
NOT_TOLD = "(resolution IS NULL OR CAST(resolution AS text) = CAST(on_due AS text))"
"""Of a wait for a run: its end has not ended the wait. That run is still the step's; one whose end was told may have been
retried since, by a person, for its own sake."""
_ABANDON = f"""
    UPDATE waits SET resolution = NULL, due_at = NULL, on_due = NULL WHERE kind = 'run' AND {NOT_TOLD}
"""  # noqa: S608 - a constant of ours
_GOES_ON = """
    EXISTS (SELECT 1 FROM runs WHERE runs.id = waits.child_run_id
            AND runs.status IN ('queued', 'running', 'waiting', 'paused'))
"""
# Leave waits for runs that still go on: without `on_due` they are abandoned, and their runs will be cancelled.
ABANDON = Statement(
    f"{_ABANDON} AND (run_id, path, attempt) IN (SELECT run_id, path, attempt FROM {{rows}}) AND {_GOES_ON}",  # noqa: S608 - constants of ours
    rows=KEY,
)
# Leave those of runs that are over.
ABANDON_ALL = Statement(
    f"{_ABANDON} AND run_id {{among_ids}} AND {_GOES_ON}",
    rows={"id": "uuid"},
)
# Forget waits whose steps are settled, but for those that are abandoned.
CLOSE = Statement(
    """
    DELETE FROM waits WHERE (run_id, path, attempt) IN (SELECT run_id, path, attempt FROM {rows})
      AND (kind <> 'run' OR on_due IS NOT NULL)
    RETURNING run_id, path, attempt, kind
    """,
    rows=KEY,
    returns=CLOSED,
)
# Forget every wait of runs that are over, but for those that are abandoned.
CLOSE_ALL = Statement(
    "DELETE FROM waits WHERE run_id {among_ids} AND (kind <> 'run' OR on_due IS NOT NULL) "
    "RETURNING run_id, path, attempt, kind",
    rows={"id": "uuid"},
    returns=CLOSED,
)
# The ends of waits that their runs have not taken over yet.
LOAD_ENDED = Statement(
    """
    SELECT run_id, path, attempt, resolution FROM waits
    WHERE resolution IS NOT NULL AND run_id {among_ids}
    """,
    rows={"id": "uuid"},
    returns={"run_id": Id(), "path": String(), "attempt": Integer(), "resolution": Json},
)
# Hold runs until the commit, in the order of their ids.
LOCK_RUNS = Statement(
    "SELECT id FROM runs WHERE id {among_ids} ORDER BY id {for_update}",
    rows={"id": "uuid"},
    returns={"id": Id()},
)
# End waits, each once, but for those that are abandoned.
RESOLVE = Statement(
    """
    UPDATE waits SET resolution = v.resolution FROM {rows}
    WHERE waits.run_id = v.run_id AND waits.path = v.path AND waits.attempt = v.attempt AND waits.resolution IS NULL
      AND (waits.kind <> 'run' OR waits.on_due IS NOT NULL)
    RETURNING waits.run_id, waits.path, waits.attempt
    """,
    rows={**KEY, "resolution": "json"},
    returns={"run_id": Id(), "path": String(), "attempt": Integer()},
)
# Runs with a wait whose time is up; those that are being written just now come next time. A fresh one may still be ended
# by an event that was there before it.
LOCK_DUE_RUNS = Statement(
    """
    SELECT id FROM runs
    WHERE id IN (SELECT run_id FROM waits WHERE resolution IS NULL AND NOT fresh AND due_at <= :now
                 ORDER BY due_at LIMIT :batch)
    {skip_locked}
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
RESOLVE_DUE = Statement(
    """
    UPDATE waits SET resolution = on_due
    WHERE run_id {among_ids} AND resolution IS NULL AND NOT fresh AND due_at <= :now RETURNING run_id
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime()},
    returns={"run_id": Id()},
)
NEXT_DUE = (
    "SELECT min(due_at) FROM waits WHERE resolution IS NULL AND due_at IS NOT NULL AND NOT fresh"
)
# Wake runs of which a wait has ended: a waiting one is queued, one in a worker's hands is signalled. A paused one finds it
# when it is resumed. One that is queued already is handed on again: a claim passes over rows that are held, as we hold it.
WAKE = Statement(
    """
    UPDATE runs SET status = CASE status WHEN 'waiting' THEN 'queued' ELSE status END,
                    waiting_for = CASE status WHEN 'waiting' THEN NULL ELSE waiting_for END,
                    wake_at = CASE status WHEN 'waiting' THEN :again ELSE wake_at END,
                    signalled = (worker_id IS NOT NULL)
    WHERE id {among_ids} AND status IN ('waiting', 'running', 'queued')
    RETURNING id, status
    """,
    rows={"id": "uuid"},
    takes={"again": UtcDateTime()},
    returns={"id": Id(), "status": Status(RunStatus)},
)
# What a worker must look at again, and what it holds no longer although it believes so.
TAKE_SIGNALS = Statement(
    """
    UPDATE runs SET signalled = false
    WHERE id IN (SELECT id FROM runs WHERE worker_id = :worker_id AND signalled {skip_locked}) RETURNING id
    """,
    takes={"worker_id": Id()},
    returns={"id": Id()},
)
# Signals of runs that the worker is just about to hold: it looks at them the next time.
SIGNAL_AGAIN = Statement(
    "UPDATE runs SET signalled = true WHERE id {among_ids} AND worker_id = :worker_id",
    rows={"id": "uuid"},
    takes={"worker_id": Id()},
)
FIND_GONE = Statement(
    """
    SELECT v.id, v.epoch FROM {rows} LEFT JOIN runs r ON r.id = v.id AND r.worker_id = :worker_id AND r.epoch = v.epoch
    WHERE r.id IS NULL
    """,
    rows={"id": "uuid", "epoch": "integer"},
    takes={"worker_id": Id()},
    returns={"id": Id(), "epoch": Integer()},
)
