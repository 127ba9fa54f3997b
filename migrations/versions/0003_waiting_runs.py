"""waiting runs: what waits, pauses, parents, replays and hooks need of runs, steps and workflows.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RUNS = ("queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out")
STEPS = ("running", "succeeded", "failed", "timed_out", "lost", "skipped", "cancelled")
TRIGGERS = ("manual", "webhook")


def hold(table: str, column: str, values: tuple[str, ...]) -> None:
    """Hold a column to other values than before."""
    name = f"{table}_{column}"
    known = ", ".join(f"'{value}'" for value in values)
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(name, table, type_="check")
        op.create_check_constraint(name, table, f"{column} IN ({known})")
        return
    # SQLite makes the table anew, and leaves out the old checks.
    with op.batch_alter_table(table, recreate="always") as batch_op:
        batch_op.create_check_constraint(name, f"{column} IN ({known})")


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("signalled", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column("depth", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("parent_run_id", Id(), nullable=True))
        batch_op.add_column(sa.Column("parent_path", sa.String(500), nullable=True))
        batch_op.add_column(sa.Column("replay_of", Id(), nullable=True))
        batch_op.add_column(sa.Column("key_expires_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("input_hash", sa.String(64), nullable=True))
        batch_op.add_column(sa.Column("context", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("response", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("control", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("hooks", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("started_by", sa.String(320), nullable=True))
        batch_op.create_index(
            "runs_by_input",
            ["workflow_id", "input_hash"],
            unique=False,
            postgresql_where=sa.text("input_hash IS NOT NULL"),
            sqlite_where=sa.text("input_hash IS NOT NULL"),
        )
        batch_op.create_index(
            "runs_by_parent",
            ["parent_run_id"],
            unique=False,
            postgresql_where=sa.text("parent_run_id IS NOT NULL"),
            sqlite_where=sa.text("parent_run_id IS NOT NULL"),
        )
        batch_op.create_index(
            "runs_hooked",
            ["finished_at"],
            unique=False,
            postgresql_where=sa.text("hooks IS NOT NULL AND finished_at IS NOT NULL"),
            sqlite_where=sa.text("hooks IS NOT NULL AND finished_at IS NOT NULL"),
        )
        batch_op.create_index(
            "runs_key_expiry",
            ["key_expires_at"],
            unique=False,
            postgresql_where=sa.text("key_expires_at IS NOT NULL"),
            sqlite_where=sa.text("key_expires_at IS NOT NULL"),
        )
        batch_op.create_index(
            "runs_signalled",
            ["worker_id"],
            unique=False,
            postgresql_where=sa.text("signalled"),
            sqlite_where=sa.text("signalled"),
        )

    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.add_column(sa.Column("input", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("wait", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(
            sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0")
        )
        batch_op.add_column(
            sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false())
        )

    with op.batch_alter_table("workflows", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("dedupe_by_input", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column("dedupe_ttl_seconds", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("event_type", sa.String(200), nullable=True))
        batch_op.add_column(sa.Column("event_filter", sa.String(), nullable=True))
        batch_op.add_column(
            sa.Column("context_required", sa.JSON(none_as_null=True), nullable=True)
        )
        batch_op.add_column(sa.Column("on_success", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("on_failure", sa.JSON(none_as_null=True), nullable=True))
        batch_op.create_index(
            "workflows_by_event",
            ["owner_id", "event_type"],
            unique=False,
            postgresql_where=sa.text("event_type IS NOT NULL AND deleted_at IS NULL"),
            sqlite_where=sa.text("event_type IS NOT NULL AND deleted_at IS NULL"),
        )

    hold("runs", "status", (*RUNS, "paused"))
    hold("runs", "trigger_kind", (*TRIGGERS, "schedule", "event", "run", "hook", "replay"))
    hold("steps", "status", (*STEPS, "waiting"))


def downgrade() -> None:
    op.execute("UPDATE runs SET status = 'queued' WHERE status = 'paused'")
    op.execute(
        "UPDATE runs SET trigger_kind = 'manual' WHERE trigger_kind NOT IN ('manual', 'webhook')"
    )
    op.execute("UPDATE steps SET status = 'cancelled' WHERE status = 'waiting'")
    hold("runs", "status", RUNS)
    hold("runs", "trigger_kind", TRIGGERS)
    hold("steps", "status", STEPS)
    with op.batch_alter_table("workflows", schema=None) as batch_op:
        batch_op.drop_index(
            "workflows_by_event",
            postgresql_where=sa.text("event_type IS NOT NULL AND deleted_at IS NULL"),
            sqlite_where=sa.text("event_type IS NOT NULL AND deleted_at IS NULL"),
        )
        batch_op.drop_column("on_failure")
        batch_op.drop_column("on_success")
        batch_op.drop_column("context_required")
        batch_op.drop_column("event_filter")
        batch_op.drop_column("event_type")
        batch_op.drop_column("dedupe_ttl_seconds")
        batch_op.drop_column("dedupe_by_input")

    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.drop_column("superseded")
        batch_op.drop_column("changed")
        batch_op.drop_column("wait")
        batch_op.drop_column("input")

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "runs_signalled",
            postgresql_where=sa.text("signalled"),
            sqlite_where=sa.text("signalled"),
        )
        batch_op.drop_index(
            "runs_key_expiry",
            postgresql_where=sa.text("key_expires_at IS NOT NULL"),
            sqlite_where=sa.text("key_expires_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "runs_hooked",
            postgresql_where=sa.text("hooks IS NOT NULL AND finished_at IS NOT NULL"),
            sqlite_where=sa.text("hooks IS NOT NULL AND finished_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "runs_by_parent",
            postgresql_where=sa.text("parent_run_id IS NOT NULL"),
            sqlite_where=sa.text("parent_run_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "runs_by_input",
            postgresql_where=sa.text("input_hash IS NOT NULL"),
            sqlite_where=sa.text("input_hash IS NOT NULL"),
        )
        batch_op.drop_column("started_by")
        batch_op.drop_column("hooks")
        batch_op.drop_column("control")
        batch_op.drop_column("response")
        batch_op.drop_column("context")
        batch_op.drop_column("input_hash")
        batch_op.drop_column("key_expires_at")
        batch_op.drop_column("replay_of")
        batch_op.drop_column("parent_path")
        batch_op.drop_column("parent_run_id")
        batch_op.drop_column("depth")
        batch_op.drop_column("signalled")
