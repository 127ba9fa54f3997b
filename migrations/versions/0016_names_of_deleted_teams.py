"""names of deleted teams: who deleted a team may use them again.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("teams", sa.Column("deleted_by", Id(), nullable=True))


def downgrade() -> None:
    op.drop_column("teams", "deleted_by")
