"""Signed webhook calls that were taken, so that none is taken twice."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.db.types import Id, UtcDateTime


class WebhookDelivery(SQLModel, table=True):
    """A call whose signature held, by hashes over the workflow and what was signed, or the sender's own id."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("webhook_deliveries_by_sender", "sender_key", unique=True),
        Index("webhook_deliveries_expired", "expires_at"),
    )

    key: str = Field(primary_key=True, max_length=64)
    sender_key: str | None = Field(default=None, max_length=64)
    workflow_id: str = Field(sa_type=Id)
    run_id: str = Field(sa_type=Id)
    expires_at: datetime = Field(sa_type=UtcDateTime)
