"""All SQL of events. Whoever matches them locks runs first, then events, so that nobody waits in a circle."""

from sqlalchemy import Boolean, Integer, String

from app.db.statement import Statement
from app.db.types import Id, Json, UtcDateTime

EVENT_COLUMNS = {
    "id": Id(),
    "owner_id": Id(),
    "type": String(),
    "correlation_id": String(),
    "payload": Json,
    "received_at": UtcDateTime(),
    "event_id": String(),
    "depth": Integer(),
    "fresh": Boolean(),
}
WAIT_COLUMNS = {
    "run_id": Id(),
    "path": String(),
    "attempt": Integer(),
    "owner_id": Id(),
    "event_type": String(),
    "correlation_id": String(),
    "filter": Json,
    "created_at": UtcDateTime(),
}
KEY = {"run_id": "uuid", "path": "text", "attempt": "integer"}
PLACE = {"owner_id": "uuid", "type": "text", "correlation_id": "text"}
_EVENT = "e.id, e.owner_id, e.type, e.correlation_id, e.payload, e.received_at, e.event_id, e.depth, e.expires_at IS NULL AS fresh"
_WAIT = (
    "w.run_id, w.path, w.attempt, w.owner_id, w.event_type, w.correlation_id, "
    "w.data -> 'filter' AS filter, w.created_at"
)
_WAITS = "w.event_type IS NOT NULL AND w.resolution IS NULL"
_FRESH_WAITS = "w.fresh AND w.resolution IS NULL"

# Store events: an id, or key, that the owner has used already inserts nothing.
INSERT = Statement(
    """
    INSERT INTO events (id, owner_id, event_id, type, correlation_id, payload, depth, received_at, woken)
    SELECT id, owner_id, event_id, type, correlation_id, payload, depth, received_at, 0 FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    RETURNING id
    """,
    rows={
        "id": "uuid",
        "owner_id": "uuid",
        "event_id": "text",
        "type": "text",
        "correlation_id": "text",
        "payload": "json",
        "depth": "integer",
        "received_at": "timestamptz",
    },
    returns={"id": Id()},
)
# Find the events that hold the ids of those not inserted.
FIND_NAMED = Statement(
    "SELECT e.id, e.owner_id, e.event_id FROM events e JOIN {rows} ON e.owner_id = v.owner_id AND e.event_id = v.event_id",
    rows={"owner_id": "uuid", "event_id": "text"},
    returns={"id": Id(), "owner_id": Id(), "event_id": String()},
)
# Enabled workflows that start on these types, with their newest versions.
FIND_TRIGGERED = Statement(
    """
    SELECT w.id, w.owner_id, w.event_type, w.event_filter, w.context_required, versions.id AS version_id, versions.version
    FROM {rows} JOIN workflows w ON w.owner_id = v.owner_id AND w.event_type = v.type
    JOIN workflow_versions versions ON versions.workflow_id = w.id AND versions.version = w.version
    WHERE w.enabled AND w.deleted_at IS NULL
    """,
    rows={"owner_id": "uuid", "type": "text"},
    returns={
        "id": Id(),
        "owner_id": Id(),
        "event_type": String(),
        "event_filter": String(),
        "context_required": Json,
        "version_id": Id(),
        "version": Integer(),
    },
)
# Fresh events by their ids.
LOAD_FRESH = Statement(
    f"SELECT {_EVENT} FROM events e WHERE e.id {{among_ids}} AND e.consumed_at IS NULL AND e.expires_at IS NULL",  # noqa: S608 - names from our own code
    rows={"id": "uuid"},
    returns=EVENT_COLUMNS,
)
# Open waits of these types: those for one of the correlation ids, and those for any.
FIND_WAITS = Statement(
    f"SELECT {_WAIT} FROM {{rows}} JOIN waits w ON w.owner_id = v.owner_id AND w.event_type = v.type "  # noqa: S608 - names from our own code
    f"AND w.correlation_id = v.correlation_id WHERE {_WAITS}",
    rows=PLACE,
    returns=WAIT_COLUMNS,
)
FIND_UNCORRELATED_WAITS = Statement(
    f"SELECT {_WAIT} FROM {{rows}} JOIN waits w ON w.owner_id = v.owner_id AND w.event_type = v.type "  # noqa: S608 - names from our own code
    f"AND w.correlation_id IS NULL WHERE {_WAITS}",
    rows={"owner_id": "uuid", "type": "text"},
    returns=WAIT_COLUMNS,
)
# Waits for which nobody has looked through the kept events yet: of these runs, and those that were left behind.
LOAD_FRESH_WAITS = Statement(
    f"SELECT {_WAIT} FROM waits w JOIN {{rows}} ON w.run_id = v.id WHERE {_FRESH_WAITS}",  # noqa: S608 - names from our own code
    rows={"id": "uuid"},
    returns=WAIT_COLUMNS,
)
FIND_STALE_WAITS = Statement(
    f"SELECT w.run_id FROM waits w WHERE {_FRESH_WAITS} AND w.created_at <= :before LIMIT :batch",  # noqa: S608 - names from our own code
    takes={"before": UtcDateTime(), "batch": Integer()},
    returns={"run_id": Id()},
)
FIND_STALE_EVENTS = Statement(
    "SELECT id FROM events WHERE expires_at IS NULL AND received_at <= :before ORDER BY received_at LIMIT :batch",
    takes={"before": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
# Fresh events that waits in these places might take.
FIND_FRESH = Statement(
    """
    SELECT DISTINCT e.id FROM {rows} JOIN events e ON e.owner_id = v.owner_id AND e.type = v.type
    WHERE e.consumed_at IS NULL AND e.expires_at IS NULL
      AND (v.correlation_id IS NULL OR e.correlation_id = v.correlation_id)
    """,
    rows=PLACE,
    returns={"id": Id()},
)
# A page of kept events for each place, oldest first: for waits that name a correlation id, and for those that do not.
_PAGE = """
    SELECT id, owner_id, type, correlation_id, payload, received_at, event_id, depth, fresh, place FROM (
        SELECT {event}, v.place, ROW_NUMBER() OVER (PARTITION BY v.place ORDER BY e.received_at, e.id) AS nth
        FROM {{rows}} JOIN events e ON e.owner_id = v.owner_id AND e.type = v.type {correlated}
        WHERE e.consumed_at IS NULL AND e.expires_at > :now AND (e.received_at, e.id) > (v.after_at, v.after_id)
    ) AS numbered WHERE nth <= :limit
"""
_PAGED = {**PLACE, "place": "integer", "after_at": "timestamptz", "after_id": "uuid"}
PAGE_CORRELATED = Statement(
    _PAGE.format(event=_EVENT, correlated="AND e.correlation_id = v.correlation_id"),
    rows=_PAGED,
    takes={"now": UtcDateTime(), "limit": Integer()},
    returns={**EVENT_COLUMNS, "place": Integer()},
)
PAGE_ANY = Statement(
    _PAGE.format(event=_EVENT, correlated=""),
    rows=_PAGED,
    takes={"now": UtcDateTime(), "limit": Integer()},
    returns={**EVENT_COLUMNS, "place": Integer()},
)
# Hold events until the commit, in the order of their ids; returns those that no wait has taken.
LOCK = Statement(
    """
    SELECT id, expires_at IS NULL AS fresh FROM events
    WHERE id {among_ids} AND consumed_at IS NULL ORDER BY id {for_update}
    """,
    rows={"id": "uuid"},
    returns={"id": Id(), "fresh": Boolean()},
)
# Which waits are still open; to be asked while their runs are held.
STILL_OPEN = Statement(
    """
    SELECT w.run_id, w.path, w.attempt FROM waits w
    JOIN {rows} ON w.run_id = v.run_id AND w.path = v.path AND w.attempt = v.attempt WHERE w.resolution IS NULL
    """,
    rows=KEY,
    returns={"run_id": Id(), "path": String(), "attempt": Integer()},
)
# Say of events that they were looked at: taken by waits (`consumed_at`), or kept for later ones.
SETTLE = Statement(
    """
    UPDATE events SET consumed_at = v.consumed_at, woken = v.woken,
                      expires_at = COALESCE(events.expires_at, v.expires_at)
    FROM {rows} WHERE events.id = v.id
    """,
    rows={
        "id": "uuid",
        "consumed_at": "timestamptz",
        "expires_at": "timestamptz",
        "woken": "integer",
    },
)
# How many waits events have ended that somebody else has looked at.
COUNT_WOKEN = Statement(
    "SELECT id, woken FROM events WHERE id {among_ids}",
    rows={"id": "uuid"},
    returns={"id": Id(), "woken": Integer()},
)
# Say of waits that the kept events were looked through; to be said while their runs are held.
SETTLE_WAITS = Statement(
    """
    UPDATE waits SET fresh = false FROM {rows}
    WHERE waits.run_id = v.run_id AND waits.path = v.path AND waits.attempt = v.attempt
    """,
    rows=KEY,
)
# Forget events whose time is over.
DELETE_EXPIRED = Statement(
    """
    DELETE FROM events WHERE id IN (SELECT id FROM events WHERE expires_at <= :now ORDER BY expires_at LIMIT :batch
                                    {skip_locked})
    RETURNING id
    """,
    takes={"now": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
# The oldest that nobody has matched, and the first to be forgotten.
FIRST_FRESH_EVENT = "SELECT min(received_at) FROM events WHERE expires_at IS NULL"
FIRST_FRESH_WAIT = f"SELECT min(w.created_at) FROM waits w WHERE {_FRESH_WAITS}"  # noqa: S608 - names from our own code
NEXT_EXPIRY = "SELECT min(expires_at) FROM events"
