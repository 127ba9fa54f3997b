"""Calls that the engine makes because a run has ended."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from app.db.types import Id, UtcDateTime

_DUE = text("next_try_at IS NOT NULL")


class HookCall(SQLModel, table=True):
    """A call of a URL, tried until it is answered or given up: then `next_try_at` is null."""

    __tablename__ = "hook_calls"
    __table_args__ = (
        Index("hook_calls_due", "next_try_at", postgresql_where=_DUE, sqlite_where=_DUE),
    )

    run_id: str = Field(primary_key=True, sa_type=Id)
    url: str = Field(primary_key=True, max_length=2000)
    tries: int = 0
    next_try_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    answered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = None
