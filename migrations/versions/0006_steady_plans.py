"""steady plans: indexes that no planner without statistics takes for empty and reads through; lists of events along one.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WAITS = ("owner_id", "event_type", "correlation_id")
FOR_EVENT = sa.text("event_type IS NOT NULL")
OPEN_FOR_EVENT = sa.text("kind = 'event' AND resolution IS NULL")
KEPT = sa.text("consumed_at IS NULL")


def upgrade() -> None:
    _replace("waits_for_events", "waits", WAITS, FOR_EVENT)
    _replace("events_kept", "events", ("owner_id", "type", "consumed_at", "correlation_id"))
    op.create_index("events_by_owner", "events", ["owner_id", "id"])


def downgrade() -> None:
    op.drop_index("events_by_owner", "events")
    _replace("events_kept", "events", ("owner_id", "type", "correlation_id"), KEPT)
    _replace("waits_for_events", "waits", WAITS, OPEN_FOR_EVENT)


def _replace(
    index: str, table: str, columns: tuple[str, ...], where: sa.TextClause | None = None
) -> None:
    op.drop_index(index, table)
    op.create_index(index, table, list(columns), postgresql_where=where, sqlite_where=where)
