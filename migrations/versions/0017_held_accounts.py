"""held accounts: a tenant holds their account's row while what they have is counted.

Changes no table: the right to do so is given with the walls, which are built anew after each migration (`app.db.walls`).

Revision ID: 0017
Revises: 0016
"""

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
