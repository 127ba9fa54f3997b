"""webhook auth: signatures and API keys, secrets that are replaced with an overlap, and deliveries that came before.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from app.db.sqlite_schema import replace_in_table
from app.db.types import Id, Json, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OLD = "'token', 'open'"
NEW = "'token', 'signature', 'api_key', 'open'"
DELIVERIES = "webhook_deliveries"
COLUMNS = (
    ("webhook_scheme", sa.String(16)),
    ("webhook_header", sa.String(100)),
    ("webhook_sources", Json),
    ("webhook_secret", sa.Text()),
    ("webhook_old_secret", sa.Text()),
    ("webhook_old_until", UtcDateTime()),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("workflows", sa.Column(name, kind, nullable=True))
    _replace(OLD, NEW)
    op.create_table(
        DELIVERIES,
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("sender_key", sa.String(64), nullable=True),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("webhook_deliveries_by_sender", DELIVERIES, ["sender_key"], unique=True)
    op.create_index("webhook_deliveries_expired", DELIVERIES, ["expires_at"])


def downgrade() -> None:
    op.drop_table(DELIVERIES)
    # Whoever signed, or had an API key, needs the token now: what was closed does not open.
    op.execute(
        "UPDATE workflows SET webhook_auth = 'token' WHERE webhook_auth NOT IN ('token', 'open')"
    )
    _replace(NEW, OLD)
    for name, _ in reversed(COLUMNS):
        op.drop_column("workflows", name)


def _replace(old: str, new: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        old, new = f"webhook_auth IN ({old})", f"webhook_auth IN ({new})"
        replace_in_table(op.get_bind(), "workflows", old, new)
        return
    op.drop_constraint("workflows_webhook_auth", "workflows", type_="check")
    op.create_check_constraint("workflows_webhook_auth", "workflows", f"webhook_auth IN ({new})")
