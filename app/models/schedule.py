"""When workflows start by themselves."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.core.statuses import Misfire
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_ENABLED = text("enabled AND next_fire_at IS NOT NULL")
_KEYED = text("idempotency_key IS NOT NULL")


class Schedule(SQLModel, table=True):
    """A cron expression in a time zone. `next_fire_at` is when a worker fires it next, each time once.

    `saved_by` is who made or last changed it: they count as having started its runs.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint(one_of("misfire", Misfire), name="schedules_misfire"),
        Index("schedules_due", "next_fire_at", postgresql_where=_ENABLED, sqlite_where=_ENABLED),
        Index("schedules_by_workflow", "workflow_id", "id"),
        Index(
            "schedules_idempotency",
            "workflow_id",
            "idempotency_key",
            unique=True,
            postgresql_where=_KEYED,
            sqlite_where=_KEYED,
        ),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    workflow_id: str = Field(sa_type=Id, foreign_key="workflows.id")
    saved_by: str | None = Field(default=None, sa_type=Id)
    cron: str = Field(max_length=200)
    timezone: str = Field(max_length=64)
    input: Any = Field(default=None, sa_type=Json, nullable=True)
    misfire: Misfire = Field(sa_type=Status(Misfire))
    enabled: bool = True
    next_fire_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_fire_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_run_id: str | None = Field(default=None, sa_type=Id)
    last_error: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    idempotency_key: str | None = Field(default=None, max_length=200)
