"""policies: guardrails on three levels, what is spent of budgets, and who waits in the queue.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id, Json, UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PLATFORM = "00000000-0000-0000-0000-000000000000"
QUEUED = sa.text("status = 'queued'")


def upgrade() -> None:
    for table, revision_in_key in (("policies", False), ("policy_revisions", True)):
        op.create_table(
            table,
            sa.Column("level", sa.String(16), primary_key=True),
            sa.Column("target_id", Id(), primary_key=True),
            sa.Column("revision", sa.Integer(), primary_key=revision_in_key, nullable=False),
            sa.Column("rules", Json, nullable=False),
            sa.Column("updated_at", UtcDateTime(), nullable=False),
            sa.Column("updated_by", sa.String(320), nullable=True),
            *(
                ()
                if revision_in_key
                else (
                    sa.CheckConstraint(
                        "level IN ('platform', 'team', 'workflow')", name="policies_level"
                    ),
                )
            ),
        )
        op.execute(
            f"INSERT INTO {table} (level, target_id, revision, rules, updated_at) "  # noqa: S608 - names from above
            f"VALUES ('platform', '{PLATFORM}', 1, '{{\"max_queued_runs\"\\:100000}}', CURRENT_TIMESTAMP)"
        )
    op.create_table(
        "budget_spend",
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("path", sa.String(500), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("unit", sa.String(32), nullable=True),
        sa.Column("owner_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
    op.create_index("budget_spend_by_name", "budget_spend", ["name", "at"])
    op.create_index("budget_spend_by_owner", "budget_spend", ["owner_id", "name", "at"])
    op.create_index("budget_spend_by_workflow", "budget_spend", ["workflow_id", "name", "at"])
    op.create_index(
        "runs_queued",
        "runs",
        ["owner_id", "id"],
        postgresql_where=QUEUED,
        sqlite_where=QUEUED,
    )


def downgrade() -> None:
    op.drop_index("runs_queued", "runs")
    for table in ("budget_spend", "policy_revisions", "policies"):
        op.drop_table(table)
