"""Accept the runs that signed webhook calls start: each call once, whoever sends it again.

What was signed makes a delivery's key, so whoever has recorded a call gets no second run out of it by changing what is not
signed (an `Idempotency-Key`, GitHub's delivery id). The key is unique in the database, in the transaction of its run.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String

from app.core.errors import Replayed
from app.core.ids import new_id
from app.core.statuses import RunStatus
from app.db.statement import Statement
from app.db.types import Id, Status, UtcDateTime
from app.engine.intake import Accepted, NewRun, Refused, accept

# Take deliveries that nobody has taken: neither by what was signed nor by the sender's id.
TAKE_DELIVERIES = Statement(
    """
    INSERT INTO webhook_deliveries (key, sender_key, workflow_id, run_id, expires_at)
    SELECT key, sender_key, workflow_id, run_id, expires_at FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    RETURNING run_id
    """,
    rows={
        "key": "text",
        "sender_key": "text",
        "workflow_id": "uuid",
        "run_id": "uuid",
        "expires_at": "timestamptz",
    },
    returns={"run_id": Id()},
)


def _free_by(column: str) -> Statement:
    """Return what deletes those in the way whose time is up: the duty that does so comes once a minute."""
    return Statement(
        f"DELETE FROM webhook_deliveries WHERE {column} {{among_ids}} AND expires_at <= :now RETURNING run_id",  # noqa: S608 - a column of ours
        rows={"id": "text"},
        takes={"now": UtcDateTime()},
        returns={"run_id": Id()},
    )


FREE_BY_KEY, FREE_BY_SENDER_KEY = _free_by("key"), _free_by("sender_key")
# Earlier deliveries, with their runs, unless those are no longer kept.
FIND_DELIVERIES = Statement(
    """
    SELECT v.run_id AS asked_by, d.sender_key, d.run_id, r.status
    FROM {rows} JOIN webhook_deliveries d ON d.key = v.id AND d.key {among_ids}
    LEFT JOIN runs r ON r.id = d.run_id
    """,
    rows={"id": "text", "run_id": "uuid"},
    returns={
        "asked_by": Id(),
        "sender_key": String(),
        "run_id": Id(),
        "status": Status(RunStatus),
    },
)
# A delivery that repeats an earlier trigger by its idempotency key: its run is that one.
POINT_DELIVERIES = Statement(
    """
    UPDATE webhook_deliveries SET run_id = v.run_id FROM {rows}
    WHERE webhook_deliveries.key = v.id AND webhook_deliveries.key {among_ids}
    """,
    rows={"id": "text", "run_id": "uuid"},
)
FIND_EXPIRED_DELIVERIES = Statement(
    """
    SELECT key FROM webhook_deliveries WHERE expires_at <= :now ORDER BY expires_at LIMIT :batch {skip_locked}
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"key": String()},
)
Row = Mapping[str, Any]
Answer = Accepted | Refused | Replayed


def accept_once(
    connection: Connection, runs: Sequence[NewRun], now: datetime
) -> list[Accepted | Refused | Replayed]:
    """Insert runs in the caller's transaction as `accept` does, those of signed calls only when the call is a new one.

    The same call again, with the same id and body, is answered with its first run; anything else is refused.
    """
    if all(run.delivery is None for run in runs):
        return [*accept(connection, runs, now)]
    by_id = {run.id or new_id(): run for run in runs}
    rows = [_row(id_, run, now) for id_, run in by_id.items() if run.delivery]
    left = {row["run_id"]: row for row in _take(connection, rows, now)}
    new = [replace(run, id=id_) for id_, run in by_id.items() if id_ not in left]
    answers: dict[str, Accepted | Refused | Replayed] = dict(
        zip((run.id or "" for run in new), accept(connection, new, now), strict=True)
    )
    _give_back(connection, rows, answers)
    _point_to_earlier(connection, rows, answers)
    answers |= _find(connection, left)
    return [answers[id_] for id_ in by_id]


def expire_deliveries(connection: Connection, now: datetime, batch: int) -> int:
    """Delete deliveries whose time is up; returns how many."""
    found = FIND_EXPIRED_DELIVERIES.run(connection, now=now, batch=batch)
    return len(FREE_BY_KEY.run(connection, [{"id": row.key} for row in found], now=now))


def _take(connection: Connection, rows: Sequence[Row], now: datetime) -> Sequence[Row]:
    """Insert deliveries; returns those that were taken before."""
    left = _insert(connection, rows)
    if not left:
        return left
    ids = [{"id": row["sender_key"]} for row in left if row["sender_key"]]
    freed = [*FREE_BY_KEY.run(connection, _by_key(left), now=now)]
    freed += FREE_BY_SENDER_KEY.run(connection, ids, now=now) if ids else ()
    return _insert(connection, left) if freed else left


def _insert(connection: Connection, rows: Sequence[Row]) -> Sequence[Row]:
    # In one order, so that two processes which take the same deliveries do not wait in a circle. The sender's id goes first:
    # it stays the same when a delivery is signed anew.
    ordered = sorted(rows, key=lambda row: (row["sender_key"] or row["key"], row["key"]))
    taken = {row.run_id for row in TAKE_DELIVERIES.run(connection, ordered)}
    return [row for row in ordered if row["run_id"] not in taken]


def _give_back(connection: Connection, rows: Sequence[Row], answers: Mapping[str, Answer]) -> None:
    """Forget deliveries whose runs a policy has refused: sent again later, they count."""
    refused = [row for row in rows if isinstance(answers.get(row["run_id"]), Refused)]
    if refused:
        FREE_BY_KEY.run(connection, _by_key(refused), now=max(row["expires_at"] for row in refused))


def _point_to_earlier(
    connection: Connection, rows: Sequence[Row], answers: Mapping[str, Answer]
) -> None:
    """Let deliveries whose runs were not made, for their idempotency keys, name the runs that hold those."""
    repeated = [
        {"id": row["key"], "run_id": answer.run_id}
        for row in rows
        if isinstance(answer := answers.get(row["run_id"]), Accepted) and answer.duplicate
    ]
    if repeated:
        POINT_DELIVERIES.run(connection, repeated)


def _find(connection: Connection, left: Mapping[str, Row]) -> dict[str, Accepted | Replayed]:
    """Return the answer to each call that was taken before, by the id that its run would have had."""
    answers: dict[str, Accepted | Replayed] = {id_: Replayed() for id_ in left}
    found = FIND_DELIVERIES.run(connection, _by_key(left.values())) if left else ()
    for row in found:
        if row.sender_key == left[row.asked_by]["sender_key"] and row.status is not None:
            answers[row.asked_by] = Accepted(row.run_id, row.status, duplicate=True)
    return answers


def _by_key(rows: Iterable[Row]) -> list[Row]:
    return [{"id": row["key"], "run_id": row["run_id"]} for row in rows]


def _row(run_id: str, run: NewRun, now: datetime) -> Row:
    assert run.delivery is not None  # noqa: S101 - asked for by the caller
    sender_id = run.delivery.id
    return {
        "key": _of(run.workflow_id, run.delivery.key),
        "sender_key": None if sender_id is None else _of(run.workflow_id, sender_id),
        "workflow_id": run.workflow_id,
        "run_id": run_id,
        "expires_at": now + timedelta(seconds=run.delivery.kept_seconds),
    }


def _of(workflow_id: str, text: str) -> str:
    return hashlib.sha256(f"{workflow_id}:{text}".encode()).hexdigest()
