"""What is stopped, was stopped, by whom and why."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.core.statuses import SwitchMode, SwitchScope
from app.db.types import Id, Status, UtcDateTime, one_of

_SET = text("lifted_at IS NULL")


class KillSwitch(SQLModel, table=True):
    """A switch is set as long as `lifted_at` is null; rows are never deleted. `lifted_by` null: its time was up."""

    __tablename__ = "kill_switches"
    __table_args__ = (
        CheckConstraint(one_of("scope", SwitchScope), name="kill_switches_scope"),
        CheckConstraint(one_of("mode", SwitchMode), name="kill_switches_mode"),
        Index("kill_switches_set", "expires_at", postgresql_where=_SET, sqlite_where=_SET),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    scope: SwitchScope = Field(sa_type=Status(SwitchScope))
    target: str | None = Field(default=None, max_length=320)
    mode: SwitchMode = Field(sa_type=Status(SwitchMode))
    reason: str
    created_by: str = Field(max_length=320)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lifted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lifted_by: str | None = Field(default=None, max_length=320)
