"""parked runs: an index for those that wait or are paused, so that counting them does not read the history.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PARKED = sa.text("status IN ('waiting', 'paused')")


def upgrade() -> None:
    op.create_index("runs_parked", "runs", ["status"], postgresql_where=PARKED, sqlite_where=PARKED)


def downgrade() -> None:
    op.drop_index("runs_parked", "runs")
