"""roles: operators, who run the platform, and viewers, who only read.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

from app.db.sqlite_schema import replace_in_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


OLD = "'admin', 'member'"
NEW = "'admin', 'operator', 'member', 'viewer'"


def upgrade() -> None:
    _replace(OLD, NEW)


def downgrade() -> None:
    op.execute("UPDATE users SET role = 'member' WHERE role NOT IN ('admin', 'member')")
    _replace(NEW, OLD)


def _replace(old: str, new: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        replace_in_table(op.get_bind(), "users", f"role IN ({old})", f"role IN ({new})")
        return
    op.drop_constraint("users_role", "users", type_="check")
    op.create_check_constraint("users_role", "users", f"role IN ({new})")
