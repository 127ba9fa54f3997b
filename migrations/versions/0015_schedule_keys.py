"""schedules that are made once: the Idempotency-Key of the call that made them.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KEYED = sa.text("idempotency_key IS NOT NULL")


def upgrade() -> None:
    op.add_column("schedules", sa.Column("idempotency_key", sa.String(200), nullable=True))
    op.create_index(
        "schedules_idempotency",
        "schedules",
        ["workflow_id", "idempotency_key"],
        unique=True,
        postgresql_where=KEYED,
        sqlite_where=KEYED,
    )


def downgrade() -> None:
    op.drop_index("schedules_idempotency", "schedules")
    op.drop_column("schedules", "idempotency_key")
