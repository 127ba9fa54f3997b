"""kill switches: what operators have stopped, and the runs that it holds.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SET = sa.text("lifted_at IS NULL")
HELD = sa.text("held_by IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "kill_switches",
        sa.Column("id", Id(), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("target", sa.String(320), nullable=True),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(320), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_by", sa.String(320), nullable=True),
        sa.CheckConstraint(
            "scope IN ('all', 'team', 'user', 'workflow', 'node_type', 'credential')",
            name="kill_switches_scope",
        ),
        sa.CheckConstraint("mode IN ('drain', 'halt')", name="kill_switches_mode"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "kill_switches_set",
        "kill_switches",
        ["expires_at"],
        postgresql_where=SET,
        sqlite_where=SET,
    )
    op.add_column("runs", sa.Column("held_by", Id(), nullable=True))
    op.create_index("runs_held", "runs", ["held_by"], postgresql_where=HELD, sqlite_where=HELD)


def downgrade() -> None:
    op.execute(
        "UPDATE runs SET status = 'queued', wake_at = created_at, waiting_for = NULL WHERE held_by IS NOT NULL"
    )
    op.drop_index("runs_held", "runs")
    op.drop_column("runs", "held_by")
    op.drop_index("kill_switches_set", "kill_switches")
    op.drop_table("kill_switches")
