"""Keyset pages: newest first, read on after the last id seen; never an offset."""

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlmodel import Session, col
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import InvalidInput

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
Row = TypeVar("Row")


def newest_first(
    session: Session, query: SelectOfScalar[Row], key: Any, limit: int, cursor: str | None
) -> tuple[Sequence[Row], str | None]:
    """Return a page of a query, ordered by the id column `key`, and the cursor of the next page.

    Raises:
        InvalidInput: the cursor is none that we gave.
    """
    if cursor is not None:
        query = query.where(col(key) < read_cursor(cursor))
    rows = session.exec(query.order_by(col(key).desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return shown, make_cursor(getattr(shown[-1], key.key)) if more else None


def make_cursor(last_id: str) -> str:
    """Return the cursor that continues after an id."""
    return encode_cursor(uuid.UUID(last_id).bytes)


def encode_cursor(raw: bytes) -> str:
    """Return the cursor that `decode_cursor` reads these bytes from."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_cursor(cursor: str) -> str:
    """Return the id that a cursor continues after.

    Raises:
        InvalidInput: the cursor is none that we gave.
    """
    return decode_cursor(cursor, lambda raw: str(uuid.UUID(bytes=raw)))


def decode_cursor(cursor: str, read: Callable[[bytes], Row]) -> Row:
    """Return what `read` makes of a cursor's bytes.

    Raises:
        InvalidInput: the cursor is none that we gave.
    """
    try:
        return read(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError):
        raise InvalidInput(
            "The cursor is not one that this API gave: start again without `cursor`."
        ) from None
