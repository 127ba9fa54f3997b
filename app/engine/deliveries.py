"""Accept the runs that signed webhook calls start: each call once, whoever sends it again.

What was signed makes a delivery's key, so whoever has recorded a call gets no second run out of it by changing what is not
signed (an `Idempotency-Key`, GitHub's delivery id). The key is unique in the database, in the transaction of its run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String

from app.core.errors import Replayed
from app.core.ids import new_id
from app.core.statuses import RunStatus
from app.db.statement import Statement
from app.db.types import Id, Status, UtcDateTime
from app.engine.intake import Accepted, NewRun, accept

_COLUMNS = {"workflow_id": "uuid", "key": "text", "delivery_id": "text", "run_id": "uuid"}
# Take deliveries that nobody has taken: neither by what was signed nor by the sender's id.
TAKE_DELIVERIES = Statement(
    """
    INSERT INTO webhook_deliveries (workflow_id, key, delivery_id, run_id, expires_at)
    SELECT workflow_id, key, delivery_id, run_id, expires_at FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    RETURNING run_id
    """,
    rows=_COLUMNS | {"expires_at": "timestamptz"},
    returns={"run_id": Id()},
)
# Delete those in the way whose time is up; the duty that does so comes once a minute.
FREE_DELIVERIES = Statement(
    """
    DELETE FROM webhook_deliveries WHERE (workflow_id, key) IN (
        SELECT d.workflow_id, d.key FROM {rows} JOIN webhook_deliveries d ON d.workflow_id = v.workflow_id AND d.key = v.key
        WHERE d.expires_at <= :now
        UNION ALL
        SELECT d.workflow_id, d.key FROM {rows} JOIN webhook_deliveries d
            ON d.workflow_id = v.workflow_id AND d.delivery_id = v.delivery_id
        WHERE d.expires_at <= :now)
    RETURNING run_id
    """,
    rows=_COLUMNS,
    takes={"now": UtcDateTime()},
    returns={"run_id": Id()},
)
# The earlier delivery with this key, or with this id; its run, unless that is no longer kept.
FIND_DELIVERIES = Statement(
    """
    SELECT v.run_id AS asked_by, d.key, d.delivery_id, d.run_id, r.status
    FROM {rows} JOIN webhook_deliveries d ON d.workflow_id = v.workflow_id AND d.key = v.key
    LEFT JOIN runs r ON r.id = d.run_id
    UNION ALL
    SELECT v.run_id AS asked_by, d.key, d.delivery_id, d.run_id, r.status
    FROM {rows} JOIN webhook_deliveries d ON d.workflow_id = v.workflow_id AND d.delivery_id = v.delivery_id AND d.key <> v.key
    LEFT JOIN runs r ON r.id = d.run_id
    """,
    rows=_COLUMNS,
    returns={
        "asked_by": Id(),
        "key": String(),
        "delivery_id": String(),
        "run_id": Id(),
        "status": Status(RunStatus),
    },
)
# A delivery that repeats an earlier trigger by its idempotency key: its run is that one.
POINT_DELIVERIES = Statement(
    """
    UPDATE webhook_deliveries AS d SET run_id = v.run_id FROM {rows}
    WHERE d.workflow_id = v.workflow_id AND d.key = v.key
    """,
    rows=_COLUMNS,
)
EXPIRE_DELIVERIES = Statement(
    """
    DELETE FROM webhook_deliveries WHERE (workflow_id, key) IN (
        SELECT workflow_id, key FROM webhook_deliveries WHERE expires_at <= :now
        ORDER BY expires_at LIMIT :batch {skip_locked})
    RETURNING run_id
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"run_id": Id()},
)


def accept_once(
    connection: Connection, runs: Sequence[NewRun], now: datetime
) -> list[Accepted | Replayed]:
    """Insert runs in the caller's transaction as `accept` does, those of signed calls only when the call is a new one.

    The same call again, with the same id and body, is answered with its first run; anything else is refused.
    """
    if all(run.delivery is None for run in runs):
        return [*accept(connection, runs, now)]
    by_id = {run.id or new_id(): run for run in runs}
    rows = [_row(id_, run, now) for id_, run in by_id.items() if run.delivery]
    left = {row["run_id"]: row for row in _take(connection, rows, now)}
    new = [replace(run, id=id_) for id_, run in by_id.items() if id_ not in left]
    answers: dict[str, Accepted | Replayed] = dict(
        zip((run.id or "" for run in new), accept(connection, new, now), strict=True)
    )
    _point_to_earlier(connection, rows, answers)
    answers |= _find(connection, left)
    return [answers[id_] for id_ in by_id]


def expire_deliveries(connection: Connection, now: datetime, batch: int) -> int:
    """Delete deliveries whose time is up; returns how many."""
    return len(EXPIRE_DELIVERIES.run(connection, now=now, batch=batch))


def _take(
    connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> Sequence[Mapping[str, Any]]:
    """Insert deliveries; returns those that were taken before."""
    left = _insert(connection, rows)
    if left and FREE_DELIVERIES.run(connection, left, now=now):
        left = _insert(connection, left)
    return left


def _insert(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    # In one order, so that two processes which take the same deliveries never wait in a circle.
    ordered = sorted(rows, key=lambda row: (row["workflow_id"], row["key"]))
    taken = {row.run_id for row in TAKE_DELIVERIES.run(connection, ordered)}
    return [row for row in ordered if row["run_id"] not in taken]


def _point_to_earlier(
    connection: Connection,
    rows: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Accepted | Replayed],
) -> None:
    """Let deliveries whose runs were not made, for their idempotency keys, name the runs that hold those."""
    repeated = [
        {**_without_time(row), "run_id": answer.run_id}
        for row in rows
        if isinstance(answer := answers.get(row["run_id"]), Accepted) and answer.duplicate
    ]
    if repeated:
        POINT_DELIVERIES.run(connection, repeated)


def _find(
    connection: Connection, left: Mapping[str, Mapping[str, Any]]
) -> dict[str, Accepted | Replayed]:
    """Return the answer to each call that was taken before, by the id that its run would have had."""
    if not left:
        return {}
    answers: dict[str, Accepted | Replayed] = {id_: Replayed() for id_ in left}
    for row in FIND_DELIVERIES.run(connection, [_without_time(row) for row in left.values()]):
        asked = left[row.asked_by]
        same = (row.key, row.delivery_id) == (asked["key"], asked["delivery_id"])
        if same and row.status is not None:
            answers[row.asked_by] = Accepted(row.run_id, row.status, duplicate=True)
    return answers


def _row(run_id: str, run: NewRun, now: datetime) -> dict[str, Any]:
    assert run.delivery is not None  # noqa: S101 - asked for by the caller
    return {
        "workflow_id": run.workflow_id,
        "key": run.delivery.key,
        "delivery_id": run.delivery.id,
        "run_id": run_id,
        "expires_at": now + timedelta(seconds=run.delivery.kept_seconds),
    }


def _without_time(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _COLUMNS}
