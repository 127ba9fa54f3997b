"""Is a database at the newest migration?"""

from sqlalchemy import Connection, inspect, text

from app.db.revisions import heads

RECORD = "alembic_version"


def schema_is_current(connection: Connection) -> bool:
    """Tell whether every migration has run."""
    if not inspect(connection).has_table(RECORD):
        return False
    recorded = connection.scalars(text(f"SELECT version_num FROM {RECORD}"))  # noqa: S608 - a constant of ours
    return frozenset(recorded) == heads()
