"""Encrypt credentials anew under the newest key."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, select, update

from app.core.security.encryption import KeyRing, Sealed
from app.engine.credentials.store import bound_to
from app.models import Credential

TABLE = Credential.__table__  # type: ignore[attr-defined]  # SQLModel makes it


def reencrypt(connection: Connection, keys: KeyRing, limit: int) -> int:
    """Encrypt at most `limit` credentials anew; returns how many, 0 when all are done whose keys are there.

    Raises:
        CannotDecrypt: one was changed in the database, or moved.
    """
    query = (
        select(TABLE.c.id, TABLE.c.owner_id, TABLE.c.key_id, TABLE.c.ciphertext)
        .where(TABLE.c.key_id != keys.current, TABLE.c.key_id.in_(keys.ids))
        .order_by(TABLE.c.id)
        .limit(limit)
        .with_for_update()
    )
    rows = connection.execute(query).all()
    for row in rows:
        bound = bound_to(row.id, row.owner_id)
        sealed = keys.seal(keys.open(Sealed(row.key_id, row.ciphertext), bound), bound)
        connection.execute(
            update(TABLE)
            .where(TABLE.c.id == row.id)
            .values(ciphertext=sealed.ciphertext, key_id=sealed.key_id)
        )
    return len(rows)


def keys_in_use(connection: Connection) -> Mapping[str, int]:
    """Return how many credentials lie under each key, by its id."""
    query = select(TABLE.c.key_id, func.count()).group_by(TABLE.c.key_id).order_by(TABLE.c.key_id)
    return {row[0]: row[1] for row in connection.execute(query)}
