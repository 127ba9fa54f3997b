"""All SQL of policies, of what they count, and of what is spent."""

from sqlalchemy import BigInteger, Float, Integer, String

from app.db.statement import ANY_ID, Statement
from app.db.types import Id, Json, UtcDateTime

# Policies are few and never deleted: a change of any shows in the sum of their revisions.
VERSION = Statement(
    "SELECT count(*) AS policies, COALESCE(sum(revision), 0) AS revisions FROM policies",
    returns={"policies": BigInteger(), "revisions": BigInteger()},
)
LIST_REVISIONS = Statement(
    "SELECT level, target_id, revision FROM policies",
    returns={"level": String(), "target_id": Id(), "revision": Integer()},
)
LOAD_POLICIES = Statement(
    """
    SELECT p.level, p.target_id, p.revision, p.rules FROM policies p
    JOIN {rows} ON p.level = v.level AND p.target_id = v.target_id
    """,
    rows={"level": "text", "target_id": "uuid"},
    returns={"level": String(), "target_id": Id(), "revision": Integer(), "rules": Json},
)
# How many runs were started since a moment, and the first of them: of an owner, or of a workflow.
COUNT_STARTED = Statement(
    """
    SELECT v.n,
           CASE WHEN v.workflow_id IS NULL
                THEN (SELECT count(*) FROM runs r WHERE r.owner_id = v.owner_id AND r.id >= v.first)
                ELSE (SELECT count(*) FROM runs r WHERE r.workflow_id = v.workflow_id AND r.id >= v.first)
           END AS started,
           CASE WHEN v.workflow_id IS NULL
                THEN (SELECT r.id FROM runs r WHERE r.owner_id = v.owner_id AND r.id >= v.first ORDER BY r.id LIMIT 1)
                ELSE (SELECT r.id FROM runs r WHERE r.workflow_id = v.workflow_id AND r.id >= v.first ORDER BY r.id LIMIT 1)
           END AS oldest
    FROM {rows}
    """,
    rows={"n": "integer", "owner_id": "uuid", "workflow_id": "uuid", "first": "uuid"},
    returns={"n": Integer(), "started": BigInteger(), "oldest": Id()},
)
# How many runs of some owners wait in the queue, by workflow.
COUNT_QUEUED = Statement(
    """
    SELECT r.owner_id, r.workflow_id, count(*) AS queued FROM runs r
    WHERE r.owner_id {among_ids} AND r.status = 'queued' GROUP BY r.owner_id, r.workflow_id
    """,
    rows={"id": "uuid"},
    returns={"owner_id": Id(), "workflow_id": Id(), "queued": BigInteger()},
)
# Of runs that are to be claimed: those that are there to be, whose they are, and of which workflow.
LOAD_SCOPES = Statement(
    """
    SELECT r.id, r.owner_id, r.workflow_id FROM runs r
    WHERE r.id {among_ids} AND r.worker_id IS NULL AND r.status = 'queued'
    """,
    rows={"id": "uuid"},
    returns={"id": Id(), "owner_id": Id(), "workflow_id": Id()},
)
# Hold policies that cap concurrent runs until the commit: of several workers, one counts and claims at a time.
HOLD = Statement(
    """
    SELECT p.revision FROM policies p
    WHERE (p.level, p.target_id) IN (SELECT level, target_id FROM {rows}) ORDER BY p.level, p.target_id {for_update}
    """,
    rows={"level": "text", "target_id": "uuid"},
    returns={"revision": Integer()},
)
# How many runs workers hold, by owner and workflow.
COUNT_HELD = Statement(
    f"""
    SELECT r.owner_id, r.workflow_id, count(*) AS held FROM runs r WHERE r.worker_id {ANY_ID}
    GROUP BY r.owner_id, r.workflow_id
    """,  # noqa: S608 - a constant of ours
    returns={"owner_id": Id(), "workflow_id": Id(), "held": BigInteger()},
)
# The runs of an owner, or of one workflow of theirs, that have waited longest.
OLDEST_QUEUED = Statement(
    """
    SELECT r.id, r.owner_id, r.workflow_id FROM runs r
    WHERE r.owner_id = :owner_id AND r.status = 'queued' ORDER BY r.owner_id, r.id LIMIT :batch
    """,
    takes={"owner_id": Id(), "batch": Integer()},
    returns={"id": Id(), "owner_id": Id(), "workflow_id": Id()},
)
OLDEST_QUEUED_OF_WORKFLOW = Statement(
    """
    SELECT r.id, r.owner_id, r.workflow_id FROM runs r
    WHERE r.owner_id = :owner_id AND r.workflow_id = :workflow_id AND r.status = 'queued'
    ORDER BY r.owner_id, r.id LIMIT :batch
    """,
    takes={"owner_id": Id(), "workflow_id": Id(), "batch": Integer()},
    returns={"id": Id(), "owner_id": Id(), "workflow_id": Id()},
)
# Leave runs without room in the queue: a place that becomes free calls them, and this time, should that be missed.
HOLD_BACK = Statement(
    """
    UPDATE runs SET wake_at = :again
    WHERE id IN (SELECT id FROM runs WHERE id {among_ids} AND worker_id IS NULL AND status = 'queued' {skip_locked})
    """,
    rows={"id": "uuid"},
    takes={"again": UtcDateTime()},
)
# Who has runs in the queue.
QUEUED_SCOPES = Statement(
    f"""
    SELECT DISTINCT r.owner_id, r.workflow_id FROM runs r WHERE r.status = 'queued' AND r.owner_id {ANY_ID}
    """,  # noqa: S608 - a constant of ours
    returns={"owner_id": Id(), "workflow_id": Id()},
)
# What attempts have spent, each once.
SPEND = Statement(
    """
    INSERT INTO budget_spend (run_id, path, attempt, name, amount, unit, owner_id, workflow_id, at)
    SELECT run_id, path, attempt, name, amount, unit, owner_id, workflow_id, at FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    """,
    rows={
        "run_id": "uuid",
        "path": "text",
        "attempt": "integer",
        "name": "text",
        "amount": "float8",
        "unit": "text",
        "owner_id": "uuid",
        "workflow_id": "uuid",
        "at": "timestamptz",
    },
)
# Which of these are written, by their places.
FIND_SPENT = Statement(
    """
    SELECT v.n FROM {rows} JOIN budget_spend b
    ON b.run_id = v.run_id AND b.path = v.path AND b.attempt = v.attempt AND b.name = v.name
    """,
    rows={
        "n": "integer",
        "run_id": "uuid",
        "path": "text",
        "attempt": "integer",
        "name": "text",
    },
    returns={"n": Integer()},
)
# What was spent of budgets: by all, by a team, by a workflow.
SUM_SPENT = Statement(
    """
    SELECT v.n, CASE v.level
        WHEN 'platform' THEN (SELECT sum(b.amount) FROM budget_spend b WHERE b.name = v.name AND b.at >= v.since)
        WHEN 'team' THEN (SELECT sum(b.amount) FROM budget_spend b
                          WHERE b.owner_id = v.target_id AND b.name = v.name AND b.at >= v.since)
        ELSE (SELECT sum(b.amount) FROM budget_spend b
              WHERE b.workflow_id = v.target_id AND b.name = v.name AND b.at >= v.since)
        END AS spent
    FROM {rows}
    """,
    rows={
        "n": "integer",
        "level": "text",
        "target_id": "uuid",
        "name": "text",
        "since": "timestamptz",
    },
    returns={"n": Integer(), "spent": Float()},
)
