"""Encrypt anew what is stored under older keys, so that they can be taken out of ENCRYPTION_KEYS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, func, update
from sqlmodel import Session, col, select

from app.core.logging import get_logger
from app.core.security.encryption import CannotDecrypt, KeyRing, Sealed
from app.db.session import transaction
from app.engine.credentials.store import bound_to
from app.models import Credential

BATCH: Final = 200
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EncryptedTable:
    """A table with columns `id`, `ciphertext` and `key_id`, and what the ciphertext of a row is bound to."""

    model: Any
    bound_to: Callable[[Any], str]

    @property
    def name(self) -> str:
        """Return its name."""
        name: str = self.model.__tablename__
        return name


ENCRYPTED: Final = (EncryptedTable(Credential, lambda row: bound_to(row.id, row.owner_id)),)
"""Every table that holds something encrypted."""


@dataclass(slots=True)
class Rotated:
    """How many rows were encrypted anew, and how many could not be opened."""

    done: int = 0
    unreadable: int = 0


def rotate(engine: Engine, keys: KeyRing, table: EncryptedTable) -> Rotated:
    """Encrypt what lies under older keys under the newest one, in small transactions; repeat it as often as you like."""
    total, last = Rotated(), ""
    while True:
        with transaction(engine) as session:
            rows = _older(session, keys, table, last)
            for row in rows:
                _rotate(session, keys, table, row, total)
        if len(rows) < BATCH:
            return total
        last = rows[-1].id


def keys_in_use(engine: Engine, table: EncryptedTable) -> Mapping[str, int]:
    """Return how many rows lie under each key, by its id."""
    key_id = col(table.model.key_id)
    with transaction(engine) as session:
        query = select(key_id, func.count()).group_by(key_id).order_by(key_id)
        return dict(session.exec(query).all())


def _older(session: Session, keys: KeyRing, table: EncryptedTable, last: str) -> list[Any]:
    query = select(table.model).where(col(table.model.key_id) != keys.current)
    if last:
        query = query.where(col(table.model.id) > last)
    return [*session.exec(query.order_by(col(table.model.id)).limit(BATCH))]


def _rotate(
    session: Session, keys: KeyRing, table: EncryptedTable, row: Any, total: Rotated
) -> None:
    bound = table.bound_to(row)
    try:
        sealed = keys.seal(keys.open(Sealed(row.key_id, row.ciphertext), bound), bound)
    except CannotDecrypt as error:
        log.warning("cannot_rotate", table=table.name, id=row.id, reason=str(error))
        total.unreadable += 1
        return
    # Whoever saves it at this moment has the last word.
    statement = (
        update(table.model)
        .where(col(table.model.id) == row.id, col(table.model.ciphertext) == row.ciphertext)
        .values(ciphertext=sealed.ciphertext, key_id=sealed.key_id)
        .execution_options(synchronize_session=False)
    )
    total.done += session.execute(statement).rowcount  # type: ignore[attr-defined]
