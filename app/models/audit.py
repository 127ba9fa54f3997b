"""What people and the platform have done, chained so that no entry changes unseen."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, String, text
from sqlmodel import Field, SQLModel

from app.core.statuses import ActorKind
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_OF_RUN = text("run_id IS NOT NULL")
_BY_BYTES = String().with_variant(String(collation="C"), "postgresql")
"""Ordered byte by byte, so that a prefix is a range."""


class AuditEntry(SQLModel, table=True):
    """One entry; `seq` counts from 1 without a gap, `at` never falls. Triggers refuse to change or delete one.

    `hash` is an HMAC over everything but `seq`, `previous_hash` included: `app.engine.audit.chain`.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        CheckConstraint(one_of("actor_kind", ActorKind), name="audit_log_actor_kind"),
        Index("audit_log_by_actor", "actor_id", "seq"),
        Index("audit_log_by_email", "actor_email", "seq"),
        Index("audit_log_by_action", "action", "seq"),
        Index("audit_log_by_target", "target_id", "seq"),
        Index("audit_log_by_owner", "owner_id", "seq"),
        Index("audit_log_by_time", "at", "seq"),
        Index("audit_log_by_run", "run_id", "seq", postgresql_where=_OF_RUN, sqlite_where=_OF_RUN),
    )

    seq: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    at: datetime = Field(sa_type=UtcDateTime)
    actor_kind: ActorKind = Field(sa_type=Status(ActorKind))
    actor_id: str | None = Field(default=None, sa_type=Id)
    actor_email: str | None = None
    actor_api_key_id: str | None = Field(default=None, sa_type=Id)
    actor_address: str | None = None
    action: str = Field(sa_type=_BY_BYTES)
    target_kind: str
    target_id: str
    owner_id: str | None = Field(default=None, sa_type=Id)
    run_id: str | None = Field(default=None, sa_type=Id)
    details: Any = Field(sa_type=Json, nullable=False)
    previous_hash: str = Field(max_length=64)
    hash: str = Field(max_length=64)
