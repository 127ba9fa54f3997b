"""time, people, events: waits, schedules, approvals, events, evidence, and calls at the end of runs.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval_decisions",
        sa.Column("approval_id", Id(), nullable=False),
        sa.Column("by", sa.String(320), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("comment", sa.String(), nullable=True),
        sa.Column("form", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("shown_hash", sa.String(64), nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "by"),
    )
    op.create_table(
        "approval_links",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("approval_id", Id(), nullable=False),
        sa.Column("approver", sa.String(320), nullable=False),
        sa.Column("created_by", Id(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    with op.batch_alter_table("approval_links", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_approval_links_approval_id"), ["approval_id"], unique=False
        )

    op.create_table(
        "approvals",
        sa.Column("id", Id(), nullable=False),
        sa.Column("owner_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("form", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("approvers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("min_approvals", sa.Integer(), nullable=False),
        sa.Column("reject_quorum", sa.Integer(), nullable=False),
        sa.Column("allow_self", sa.Boolean(), nullable=False),
        sa.Column("requested_by", sa.String(320), nullable=True),
        sa.Column("shown_hash", sa.String(64), nullable=False),
        sa.Column("on_reject", sa.String(16), nullable=False),
        sa.Column("timeout_action", sa.String(16), nullable=True),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("escalate_to", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("escalated_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'expired', 'cancelled')",
            name="approvals_status",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "path", "attempt", name="approvals_step"),
    )
    with op.batch_alter_table("approvals", schema=None) as batch_op:
        batch_op.create_index("approvals_by_owner", ["owner_id", "id"], unique=False)
        batch_op.create_index(
            "approvals_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("status = 'pending'"),
            sqlite_where=sa.text("status = 'pending'"),
        )

    op.create_table(
        "approvers",
        sa.Column("approval_id", Id(), nullable=False),
        sa.Column("approver", sa.String(320), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "approver"),
    )
    with op.batch_alter_table("approvers", schema=None) as batch_op:
        batch_op.create_index("approvers_inbox", ["approver", "approval_id"], unique=False)

    op.create_table(
        "events",
        sa.Column("id", Id(), nullable=False),
        sa.Column("owner_id", Id(), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=True),
        sa.Column("type", sa.String(200), nullable=False),
        sa.Column("correlation_id", sa.String(255), nullable=True),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("consumed_at", UtcDateTime(), nullable=True),
        sa.Column("woken", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("events_expiry", ["expires_at"], unique=False)
        batch_op.create_index(
            "events_fresh",
            ["received_at"],
            unique=False,
            postgresql_where=sa.text("expires_at IS NULL"),
            sqlite_where=sa.text("expires_at IS NULL"),
        )
        batch_op.create_index(
            "events_kept",
            ["owner_id", "type", "correlation_id"],
            unique=False,
            postgresql_where=sa.text("consumed_at IS NULL"),
            sqlite_where=sa.text("consumed_at IS NULL"),
        )
        batch_op.create_index(
            "events_named",
            ["owner_id", "event_id"],
            unique=True,
            postgresql_where=sa.text("event_id IS NOT NULL"),
            sqlite_where=sa.text("event_id IS NOT NULL"),
        )

    op.create_table(
        "evidence",
        sa.Column("id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("artifact", sa.String(64), nullable=True),
        sa.Column("artifact_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index("evidence_by_run", ["run_id", "id"], unique=False)

    op.create_table(
        "hook_calls",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "url"),
    )
    with op.batch_alter_table("hook_calls", schema=None) as batch_op:
        batch_op.create_index(
            "hook_calls_due",
            ["next_try_at"],
            unique=False,
            postgresql_where=sa.text("next_try_at IS NOT NULL"),
            sqlite_where=sa.text("next_try_at IS NOT NULL"),
        )

    op.create_table(
        "waits",
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner_id", Id(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("on_due", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("event_type", sa.String(200), nullable=True),
        sa.Column("correlation_id", sa.String(255), nullable=True),
        sa.Column("child_run_id", Id(), nullable=True),
        sa.Column("resolution", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("fresh", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.CheckConstraint("kind IN ('timer', 'event', 'approval', 'run')", name="waits_kind"),
        sa.PrimaryKeyConstraint("run_id", "path", "attempt"),
    )
    with op.batch_alter_table("waits", schema=None) as batch_op:
        batch_op.create_index(
            "waits_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("resolution IS NULL AND due_at IS NOT NULL"),
            sqlite_where=sa.text("resolution IS NULL AND due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "waits_for_events",
            ["owner_id", "event_type", "correlation_id"],
            unique=False,
            postgresql_where=sa.text("kind = 'event' AND resolution IS NULL"),
            sqlite_where=sa.text("kind = 'event' AND resolution IS NULL"),
        )
        batch_op.create_index(
            "waits_fresh",
            ["created_at"],
            unique=False,
            postgresql_where=sa.text("fresh"),
            sqlite_where=sa.text("fresh"),
        )
        batch_op.create_index(
            "waits_for_runs",
            ["child_run_id"],
            unique=False,
            postgresql_where=sa.text("kind = 'run' AND resolution IS NULL"),
            sqlite_where=sa.text("kind = 'run' AND resolution IS NULL"),
        )

    op.create_table(
        "schedules",
        sa.Column("id", Id(), nullable=False),
        sa.Column("owner_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("cron", sa.String(200), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("input", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("misfire", sa.String(16), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_fire_at", UtcDateTime(), nullable=True),
        sa.Column("last_fire_at", UtcDateTime(), nullable=True),
        sa.Column("last_run_id", Id(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("misfire IN ('skip', 'once')", name="schedules_misfire"),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.create_index("schedules_by_workflow", ["workflow_id", "id"], unique=False)
        batch_op.create_index(
            "schedules_due",
            ["next_fire_at"],
            unique=False,
            postgresql_where=sa.text("enabled AND next_fire_at IS NOT NULL"),
            sqlite_where=sa.text("enabled AND next_fire_at IS NOT NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.drop_index(
            "schedules_due",
            postgresql_where=sa.text("enabled AND next_fire_at IS NOT NULL"),
            sqlite_where=sa.text("enabled AND next_fire_at IS NOT NULL"),
        )
        batch_op.drop_index("schedules_by_workflow")

    op.drop_table("schedules")
    with op.batch_alter_table("waits", schema=None) as batch_op:
        batch_op.drop_index(
            "waits_for_runs",
            postgresql_where=sa.text("kind = 'run' AND resolution IS NULL"),
            sqlite_where=sa.text("kind = 'run' AND resolution IS NULL"),
        )
        batch_op.drop_index(
            "waits_fresh",
            postgresql_where=sa.text("fresh"),
            sqlite_where=sa.text("fresh"),
        )
        batch_op.drop_index(
            "waits_for_events",
            postgresql_where=sa.text("kind = 'event' AND resolution IS NULL"),
            sqlite_where=sa.text("kind = 'event' AND resolution IS NULL"),
        )
        batch_op.drop_index(
            "waits_due",
            postgresql_where=sa.text("resolution IS NULL AND due_at IS NOT NULL"),
            sqlite_where=sa.text("resolution IS NULL AND due_at IS NOT NULL"),
        )

    op.drop_table("waits")
    with op.batch_alter_table("hook_calls", schema=None) as batch_op:
        batch_op.drop_index(
            "hook_calls_due",
            postgresql_where=sa.text("next_try_at IS NOT NULL"),
            sqlite_where=sa.text("next_try_at IS NOT NULL"),
        )

    op.drop_table("hook_calls")
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.drop_index("evidence_by_run")

    op.drop_table("evidence")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(
            "events_named",
            postgresql_where=sa.text("event_id IS NOT NULL"),
            sqlite_where=sa.text("event_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "events_kept",
            postgresql_where=sa.text("consumed_at IS NULL"),
            sqlite_where=sa.text("consumed_at IS NULL"),
        )
        batch_op.drop_index(
            "events_fresh",
            postgresql_where=sa.text("expires_at IS NULL"),
            sqlite_where=sa.text("expires_at IS NULL"),
        )
        batch_op.drop_index("events_expiry")

    op.drop_table("events")
    with op.batch_alter_table("approvers", schema=None) as batch_op:
        batch_op.drop_index("approvers_inbox")

    op.drop_table("approvers")
    with op.batch_alter_table("approvals", schema=None) as batch_op:
        batch_op.drop_index(
            "approvals_due",
            postgresql_where=sa.text("status = 'pending'"),
            sqlite_where=sa.text("status = 'pending'"),
        )
        batch_op.drop_index("approvals_by_owner")

    op.drop_table("approvals")
    with op.batch_alter_table("approval_links", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_approval_links_approval_id"))

    op.drop_table("approval_links")
    op.drop_table("approval_decisions")
