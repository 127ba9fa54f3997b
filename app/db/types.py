"""Column types that mean the same on Postgres and SQLite."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.types import JSON, TypeDecorator, TypeEngine

ID_LENGTH = 36
STATUS_LENGTH = 16

Json = JSON(none_as_null=True)
"""Stored as text that the database has checked; keeps the order of keys."""


class Id(TypeDecorator[str]):
    """A UUID that Python sees as 36 characters of text; 16 bytes on Postgres."""

    impl = String(ID_LENGTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use the native type where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(UUID(as_uuid=False))
        return dialect.type_descriptor(String(ID_LENGTH))


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC on both sides; SQLite, which knows no time zones, stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone was given to the database")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Status(TypeDecorator[StrEnum]):
    """A StrEnum stored by value (SQLAlchemy's own Enum stores names)."""

    impl = String(STATUS_LENGTH)
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    @property
    def length(self) -> int:
        """Return how many characters the column takes."""
        return STATUS_LENGTH

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Store the value, and only a value that the enum has."""
        del dialect
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        """Return the member."""
        del dialect
        return None if value is None else self.enum(value)


def one_of(column: str, enum: type[StrEnum]) -> str:
    """Return the text of a CHECK that holds a column to an enum's values."""
    return f"{column} IN ({', '.join(repr(member.value) for member in enum)})"
