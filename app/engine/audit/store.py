"""The SQL of the audit log."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, Row, String

from app.core.statuses import ActorKind
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime
from app.engine.audit.chain import Head
from app.engine.audit.entry import Actor, Chained, Entry
from app.models import AuditEntry

CHAIN_LOCK: Final = 0x6175646974
"""Postgres' advisory lock of whoever adds to the chain: `audit` in ASCII."""
BEFORE_ALL: Final = -(2**63)
COLUMNS: Final[Mapping[str, Any]] = {
    "seq": BigInteger(),
    "at": UtcDateTime(),
    "actor_kind": Status(ActorKind),
    "actor_id": Id(),
    "actor_email": String(),
    "actor_api_key_id": Id(),
    "actor_address": String(),
    "action": String(),
    "target_kind": String(),
    "target_id": String(),
    "owner_id": Id(),
    "run_id": Id(),
    "details": Json,
    "previous_hash": String(),
    "hash": String(),
}
_NAMES = ", ".join(COLUMNS)

# Hold the chain until the commit. SQLite has one writer at a time anyway.
HOLD = Statement("SELECT pg_advisory_xact_lock(:number)", takes={"number": BigInteger()})
# The newest entry.
NEWEST = Statement(
    "SELECT seq, hash, at FROM audit_log WHERE seq > 0 ORDER BY seq DESC LIMIT 1",
    returns={"seq": BigInteger(), "hash": String(), "at": UtcDateTime()},
)
# Add entries that are chained already.
APPEND = Statement(
    f"INSERT INTO audit_log ({_NAMES}) SELECT {_NAMES} FROM {{rows}} WHERE true",  # noqa: S608 - our own names
    rows={
        "seq": "bigint",
        "at": "timestamptz",
        "actor_kind": "text",
        "actor_id": "uuid",
        "actor_email": "text",
        "actor_api_key_id": "uuid",
        "actor_address": "text",
        "action": "text",
        "target_kind": "text",
        "target_id": "text",
        "owner_id": "uuid",
        "run_id": "uuid",
        "details": "json",
        "previous_hash": "text",
        "hash": "text",
    },
)
# Read on, in order.
READ_ON = Statement(
    f"SELECT {_NAMES} FROM audit_log WHERE seq > :after ORDER BY seq LIMIT :batch",  # noqa: S608 - our own names
    takes={"after": BigInteger(), "batch": Integer()},
    returns=COLUMNS,
)
# The hash of one entry.
HASH_OF = Statement(
    "SELECT hash FROM audit_log WHERE seq = :seq",
    takes={"seq": BigInteger()},
    returns={"hash": String()},
)
# What the newest entry of an action said.
LAST_OF = Statement(
    "SELECT details FROM audit_log WHERE action = :action ORDER BY seq DESC LIMIT 1",
    takes={"action": String()},
    returns={"details": Json},
)


def newest(connection: Connection) -> Head:
    """Return the head of the chain."""
    found = NEWEST.run(connection)
    return Head(*found[0]) if found else Head()


def row_of(chained: Chained) -> Mapping[str, Any]:
    """Return the row of an entry."""
    entry, actor = chained.entry, chained.entry.actor
    return {
        "seq": chained.seq,
        "at": chained.at,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_email": actor.email,
        "actor_api_key_id": actor.api_key_id,
        "actor_address": actor.address,
        "action": entry.action,
        "target_kind": entry.target_kind,
        "target_id": entry.target_id,
        "owner_id": entry.owner_id,
        "run_id": entry.run_id,
        "details": entry.details,
        "previous_hash": chained.previous_hash,
        "hash": chained.hash,
    }


def entry_of(row: Row[Any] | AuditEntry) -> Chained:
    """Return the entry that a row holds."""
    actor = Actor(
        row.actor_kind, row.actor_id, row.actor_email, row.actor_api_key_id, row.actor_address
    )
    entry = Entry(
        actor,
        row.action,
        row.target_kind,
        row.target_id,
        row.owner_id,
        row.details,
        row.run_id,
    )
    return Chained(row.seq, row.at, entry, row.previous_hash, row.hash)


def read_on(connection: Connection, after: int, batch: int) -> Sequence[Chained]:
    """Return the next entries after a place, in order."""
    return [entry_of(row) for row in READ_ON.run(connection, after=after, batch=batch)]
