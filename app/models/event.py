"""What has happened elsewhere, told by people's systems."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from app.db.types import Id, Json, UtcDateTime

_NAMED = text("event_id IS NOT NULL")
_FRESH = text("expires_at IS NULL")


class Event(SQLModel, table=True):
    """An event of one owner. One that no wait has taken is kept until `expires_at`.

    While `expires_at` is null nobody has looked for waits yet. `event_id` is accepted once: `id:` and the publisher's own
    id, or `key:` and an Idempotency-Key. `woken` counts the waits that it has ended, `depth` the runs that have led to it, one by the event of another.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(
            "events_named",
            "owner_id",
            "event_id",
            unique=True,
            postgresql_where=_NAMED,
            sqlite_where=_NAMED,
        ),
        Index("events_kept", "owner_id", "type", "consumed_at", "correlation_id"),
        Index("events_by_owner", "owner_id", "id"),
        Index("events_expiry", "expires_at"),
        Index("events_fresh", "received_at", postgresql_where=_FRESH, sqlite_where=_FRESH),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    event_id: str | None = Field(default=None, max_length=255)
    type: str = Field(max_length=200)
    correlation_id: str | None = Field(default=None, max_length=255)
    payload: Any = Field(default=None, sa_type=Json, nullable=True)
    received_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    consumed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    woken: int = 0
    depth: int = 0
