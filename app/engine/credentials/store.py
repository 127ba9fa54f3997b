"""The SQL of credentials that are used, and how what is stored of them is bound to its row."""

from sqlalchemy import Integer, LargeBinary, String

from app.db.statement import Statement
from app.db.types import Id, Json, UtcDateTime

# What the attempts of a moment ask for, each by its run's owner and a name.
FIND_CREDENTIALS = Statement(
    """
    SELECT c.id, c.owner_id, c.name, c.kind, c.ciphertext, c.key_id, c.allowed_hosts, c.revision
    FROM {rows} JOIN credentials c ON c.owner_id = v.owner_id AND c.name = v.name
    """,
    rows={"owner_id": "uuid", "name": "text"},
    returns={
        "id": Id(),
        "owner_id": Id(),
        "name": String(),
        "kind": String(),
        "ciphertext": LargeBinary(),
        "key_id": String(),
        "allowed_hosts": Json,
        "revision": Integer(),
    },
)
# Once a minute is enough to tell which credentials are in use; a row that another worker is touching is passed over.
TOUCH_CREDENTIALS = Statement(
    """
    UPDATE credentials SET last_used_at = :now WHERE id IN (
        SELECT id FROM credentials WHERE id {among_ids} AND (last_used_at IS NULL OR last_used_at < :stale)
        ORDER BY id {skip_locked}
    )
    """,
    rows={"id": "uuid"},
    takes={"now": UtcDateTime(), "stale": UtcDateTime()},
)


def bound_to(credential_id: str, owner_id: str) -> str:
    """Return what the ciphertext of a credential is bound to: moved to another row or owner, it cannot be opened."""
    return f"credential:{credential_id}:{owner_id}"
