"""audit log: what was done, chained and append-only.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Id, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = "'user', 'api_key', 'link', 'webhook', 'system'"
REFUSAL = "audit_log is append-only: its entries are neither changed nor deleted"
INDEXES = {
    "audit_log_by_actor": ["actor_id", "seq"],
    "audit_log_by_email": ["actor_email", "seq"],
    "audit_log_by_action": ["action", "seq"],
    "audit_log_by_target": ["target_id", "seq"],
    "audit_log_by_owner": ["owner_id", "seq"],
    "audit_log_by_time": ["at", "seq"],
}
ON_POSTGRES = (
    f"""
    CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()
    """,
)
ON_SQLITE = (
    f"CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    # INSERT OR REPLACE deletes without calling the trigger above.
    f"""
    CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
    WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq) BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END
    """,  # noqa: S608 - our own text
)


def upgrade() -> None:
    on_postgres = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_id", Id(), nullable=True),
        sa.Column("actor_email", sa.String(), nullable=True),
        sa.Column("actor_api_key_id", Id(), nullable=True),
        sa.Column("actor_address", sa.String(), nullable=True),
        sa.Column("action", sa.String(collation="C" if on_postgres else None), nullable=False),
        sa.Column("target_kind", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("owner_id", Id(), nullable=True),
        sa.Column("run_id", Id(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.CheckConstraint(f"actor_kind IN ({KINDS})", name="audit_log_actor_kind"),
        sa.PrimaryKeyConstraint("seq"),
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "audit_log", columns)
    of_run = sa.text("run_id IS NOT NULL")
    op.create_index(
        "audit_log_by_run",
        "audit_log",
        ["run_id", "seq"],
        postgresql_where=of_run,
        sqlite_where=of_run,
    )
    for statement in ON_POSTGRES if on_postgres else ON_SQLITE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_log")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_log_refuse()")
