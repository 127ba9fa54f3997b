"""Duty: forget sessions and invitations whose time is up."""

from collections.abc import Mapping

from sqlalchemy import Engine, Integer

from app.core.clock import Clock
from app.db.statement import Statement
from app.db.types import Id, UtcDateTime

BATCH = 500
MAX_BATCHES = 200


def _expired(table: str) -> Statement:
    return Statement(
        f"SELECT id FROM {table} WHERE expires_at <= :now ORDER BY expires_at LIMIT :batch {{skip_locked}}",  # noqa: S608 - names from our own code
        takes={"now": UtcDateTime(), "batch": Integer()},
        returns={"id": Id()},
    )


EXPIRED_SESSIONS = _expired("sessions")
EXPIRED_INVITATIONS = _expired("invitations")
# Their refresh tokens go with them.
DELETE_SESSIONS = Statement("DELETE FROM sessions WHERE id {among_ids}", rows={"id": "uuid"})
DELETE_INVITATIONS = Statement("DELETE FROM invitations WHERE id {among_ids}", rows={"id": "uuid"})


class Accounts:
    """Deletes what has expired. Whoever uses it looks at its time as well, so nothing depends on when this comes."""

    name = "accounts"
    interval_seconds = 300.0

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def run_once(self) -> Mapping[str, int]:
        """Delete what has expired, in small commits; returns how much of each."""
        return {
            "sessions": self._expire(EXPIRED_SESSIONS, DELETE_SESSIONS),
            "invitations": self._expire(EXPIRED_INVITATIONS, DELETE_INVITATIONS),
        }

    def _expire(self, find: Statement, delete: Statement) -> int:
        expired = 0
        for _ in range(MAX_BATCHES):
            with self._engine.begin() as connection:
                found = find.run(connection, now=self._clock.now(), batch=BATCH)
                if found:
                    delete.run(connection, [{"id": row.id} for row in found])
            expired += len(found)
            if len(found) < BATCH:
                break
        return expired
