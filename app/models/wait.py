"""What waiting steps wait for."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.core.statuses import WaitKind
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_DUE = text("resolution IS NULL AND due_at IS NOT NULL")
_EVENT = text("event_type IS NOT NULL")
_FRESH = text("fresh")
_RUN = text("kind = 'run' AND resolution IS NULL")


class Wait(SQLModel, table=True):
    """A step that waits, from the commit that suspends it to the one that takes over its `resolution`.

    Whoever ends the wait writes `resolution`, once: what becomes of the step (`planning.transitions.outcome_of`). At
    `due_at` that is `on_due`. `data` is what the kind needs besides. `fresh`: it is for an event, and nobody has looked yet
    through those that are kept.
    """

    __tablename__ = "waits"
    __table_args__ = (
        CheckConstraint(one_of("kind", WaitKind), name="waits_kind"),
        Index("waits_due", "due_at", postgresql_where=_DUE, sqlite_where=_DUE),
        Index(
            "waits_for_events",
            "owner_id",
            "event_type",
            "correlation_id",
            postgresql_where=_EVENT,
            sqlite_where=_EVENT,
        ),
        Index("waits_fresh", "created_at", postgresql_where=_FRESH, sqlite_where=_FRESH),
        Index("waits_for_runs", "child_run_id", postgresql_where=_RUN, sqlite_where=_RUN),
    )

    run_id: str = Field(primary_key=True, sa_type=Id)
    path: str = Field(primary_key=True, max_length=500)
    attempt: int = Field(primary_key=True)
    owner_id: str = Field(sa_type=Id)
    kind: WaitKind = Field(sa_type=Status(WaitKind))
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    on_due: Any = Field(default=None, sa_type=Json, nullable=True)
    data: Any = Field(default=None, sa_type=Json, nullable=True)
    event_type: str | None = Field(default=None, max_length=200)
    correlation_id: str | None = Field(default=None, max_length=255)
    child_run_id: str | None = Field(default=None, sa_type=Id)
    resolution: Any = Field(default=None, sa_type=Json, nullable=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    fresh: bool = False
