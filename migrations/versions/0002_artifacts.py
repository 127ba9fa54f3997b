"""artifacts: where the large outputs of runs and steps lie.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("runs", "steps")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("output_artifact", sa.String(64), nullable=True))
        op.add_column(table, sa.Column("output_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "output_bytes")
        op.drop_column(table, "output_artifact")
