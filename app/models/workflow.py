"""What users and teams own: workflows, and their immutable versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.core.statuses import WebhookAuth, WebhookScheme
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_ON_EVENT = text("event_type IS NOT NULL AND deleted_at IS NULL")


class Workflow(SQLModel, table=True):
    """A named thing that a user or a team owns. `revision` grows with every change and is its ETag; `deleted_at` hides it.

    An event of `event_type` that passes `event_filter` starts it. `on_success` and `on_failure` are called at a run's end.
    """

    __tablename__ = "workflows"
    __table_args__ = (
        CheckConstraint(one_of("webhook_auth", WebhookAuth), name="workflows_webhook_auth"),
        Index("workflows_by_owner", "owner_id", "id"),
        Index(
            "workflows_by_event",
            "owner_id",
            "event_type",
            postgresql_where=_ON_EVENT,
            sqlite_where=_ON_EVENT,
        ),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    name: str = Field(max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    version: int = 1
    revision: int = 1
    webhook_auth: WebhookAuth = Field(sa_type=Status(WebhookAuth))
    webhook_serial: int = 1
    """Of the token and of the secret that count; those before it do until `webhook_old_until`."""
    webhook_scheme: WebhookScheme | None = Field(
        default=None, sa_type=Status(WebhookScheme), nullable=True
    )
    webhook_header: str | None = Field(default=None, max_length=100)
    webhook_sources: Any = Field(default=None, sa_type=Json, nullable=True)
    webhook_secret: str | None = None
    webhook_old_secret: str | None = None
    webhook_old_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    dedupe_key: str | None = Field(default=None)
    dedupe_by_input: bool = False
    dedupe_ttl_seconds: int | None = None
    event_type: str | None = Field(default=None, max_length=200)
    event_filter: str | None = None
    context_required: Any = Field(default=None, sa_type=Json, nullable=True)
    on_success: Any = Field(default=None, sa_type=Json, nullable=True)
    on_failure: Any = Field(default=None, sa_type=Json, nullable=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WorkflowVersion(SQLModel, table=True):
    """A saved definition. Never changed, never deleted: runs keep the version that they started with."""

    __tablename__ = "workflow_versions"
    __table_args__ = (UniqueConstraint("workflow_id", "version", name="workflow_versions_number"),)

    id: str = Field(primary_key=True, sa_type=Id)
    workflow_id: str = Field(sa_type=Id, foreign_key="workflows.id")
    version: int
    definition: dict[str, Any] = Field(sa_type=Json)
    checksum: str = Field(max_length=64)
    created_by: str = Field(sa_type=Id, foreign_key="users.id")
    created_at: datetime = Field(sa_type=UtcDateTime)
