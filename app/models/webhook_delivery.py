"""Signed webhook calls that were taken, so that none is taken twice."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.db.types import Id, UtcDateTime


class WebhookDelivery(SQLModel, table=True):
    """A call whose signature held, by what was signed and by the sender's own id for it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("webhook_deliveries_by_id", "workflow_id", "delivery_id", unique=True),
        Index("webhook_deliveries_expired", "expires_at"),
    )

    workflow_id: str = Field(primary_key=True, sa_type=Id)
    key: str = Field(primary_key=True, max_length=64)
    delivery_id: str | None = Field(default=None, max_length=200)
    run_id: str = Field(sa_type=Id)
    expires_at: datetime = Field(sa_type=UtcDateTime)
