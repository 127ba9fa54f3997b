"""teams: owners of workflows beside people, and workflows that are shared.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from app.db.sqlite_schema import replace_in_table
from app.db.types import Id, UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SQLITE_KEY = ", \n\tFOREIGN KEY(owner_id) REFERENCES users (id)"
OWNED = ("workflows", "schedules", "runs", "waits", "approvals")


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_by", Id(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "team_names",
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("team_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"]),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("team_names_by_team", "team_names", ["team_id"])
    op.create_table(
        "team_members",
        sa.Column("team_id", Id(), nullable=False),
        sa.Column("user_id", Id(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'runner', 'editor', 'owner')", name="team_members_role"
        ),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("team_id", "user_id"),
    )
    op.create_index("team_members_by_user", "team_members", ["user_id", "team_id"])
    op.create_table(
        "workflow_shares",
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("grantee_id", Id(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_by", Id(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'runner', 'editor')", name="workflow_shares_role"),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"]),
        sa.PrimaryKeyConstraint("workflow_id", "grantee_id"),
    )
    op.create_index("workflow_shares_by_grantee", "workflow_shares", ["grantee_id", "workflow_id"])
    op.add_column("schedules", sa.Column("saved_by", Id(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        replace_in_table(op.get_bind(), "workflows", SQLITE_KEY, "")
    else:
        op.drop_constraint("workflows_owner_id_fkey", "workflows", type_="foreignkey")


def downgrade() -> None:
    """Give what teams own to whoever made them."""
    op.execute("DELETE FROM events WHERE owner_id IN (SELECT id FROM teams)")
    for table in OWNED:
        op.execute(
            f"UPDATE {table} SET owner_id = (SELECT created_by FROM teams WHERE teams.id = {table}.owner_id) "  # noqa: S608 - names from this file
            "WHERE owner_id IN (SELECT id FROM teams)"
        )
    if op.get_bind().dialect.name == "sqlite":
        before = ", \n\tPRIMARY KEY (id), \n\tCONSTRAINT workflows_webhook_auth"
        replace_in_table(op.get_bind(), "workflows", before, SQLITE_KEY + before)
    else:
        op.create_foreign_key("workflows_owner_id_fkey", "workflows", "users", ["owner_id"], ["id"])
    op.drop_column("schedules", "saved_by")
    for table in ("workflow_shares", "team_members", "team_names", "teams"):
        op.drop_table(table)
