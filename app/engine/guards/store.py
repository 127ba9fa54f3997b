"""All SQL of kill switches, and of the runs that guards hold."""

from sqlalchemy import Boolean, Connection, Integer, String

from app.db.statement import ANY_ID, Statement
from app.db.types import Id, UtcDateTime
from app.engine.guards.switches import Switches, read_switch

# Those that are set. (Scope and mode as text: what this release does not know must not be passed over.)
SET_SWITCHES = Statement(
    "SELECT id, scope, target, mode, reason, expires_at FROM kill_switches WHERE lifted_at IS NULL ORDER BY id",
    returns={
        "id": Id(),
        "scope": String(),
        "target": String(),
        "mode": String(),
        "reason": String(),
        "expires_at": UtcDateTime(),
    },
)
# Those whose time is up are lifted, by nobody.
EXPIRE = Statement(
    """
    UPDATE kill_switches SET lifted_at = expires_at
    WHERE id IN (SELECT id FROM kill_switches WHERE lifted_at IS NULL AND expires_at <= :now {skip_locked})
    """,
    takes={"now": UtcDateTime()},
)
NEXT_EXPIRY = "SELECT min(expires_at) FROM kill_switches WHERE lifted_at IS NULL"
# What is about to be claimed, and whether it has begun.
LOOK_AT_QUEUED = Statement(
    """
    SELECT id, owner_id, workflow_id, started_at IS NOT NULL AS begun FROM runs
    WHERE id {among_ids} AND worker_id IS NULL AND status = 'queued' ORDER BY id {skip_locked}
    """,
    rows={"id": "uuid"},
    returns={"id": Id(), "owner_id": Id(), "workflow_id": Id(), "begun": Boolean()},
)
# Hold queued runs: they wait without waking anybody.
HOLD = Statement(
    """
    UPDATE runs SET status = 'paused', wake_at = NULL, waiting_for = v.waiting_for, held_by = v.held_by
    FROM {rows} WHERE runs.id = v.id AND runs.id {among_ids} AND runs.worker_id IS NULL AND runs.status = 'queued'
    """,
    rows={"id": "uuid", "waiting_for": "json", "held_by": "uuid"},
)
# Who holds runs: one step along the index for each of them, however many runs there are.
_HOLDERS = f"""
    WITH RECURSIVE holders(id) AS (
        SELECT id FROM (SELECT held_by AS id FROM runs WHERE held_by {ANY_ID} ORDER BY held_by LIMIT 1) AS lowest
        UNION ALL
        SELECT (SELECT r.held_by FROM runs r WHERE r.held_by > holders.id ORDER BY r.held_by LIMIT 1)
        FROM holders WHERE holders.id IS NOT NULL
    )
"""  # noqa: S608 - a constant of ours
_LIFTED = "FROM holders JOIN kill_switches k ON k.id = holders.id WHERE k.lifted_at IS NOT NULL"
LIFTED_HOLDERS = Statement(
    f"{_HOLDERS} SELECT k.id {_LIFTED} AND k.lifted_at <= :before",
    takes={"before": UtcDateTime()},
    returns={"id": Id()},
)
FIRST_LIFTED = f"{_HOLDERS} SELECT min(k.lifted_at) {_LIFTED}"
# Let runs go on that somebody has held; each worker passes over what another has just taken.
RELEASE = Statement(
    """
    UPDATE runs SET status = 'queued', wake_at = :again, waiting_for = NULL, held_by = NULL
    WHERE id IN (SELECT id FROM runs WHERE held_by = :holder LIMIT :batch {skip_locked})
    RETURNING id
    """,
    takes={"holder": Id(), "again": UtcDateTime(), "batch": Integer()},
    returns={"id": Id()},
)
COUNT_HELD = Statement(
    f"SELECT count(*) AS runs FROM runs WHERE held_by {ANY_ID}",  # noqa: S608 - a constant of ours
    returns={"runs": Integer()},
)


def read_switches(connection: Connection) -> Switches:
    """Return the switches that are set; of each, its own time may be up."""
    return tuple(read_switch(row) for row in SET_SWITCHES.run(connection))
