"""Is the embedded database at the newest migration? Asked cheaply, so that most starts need not load Alembic."""

from pathlib import Path

import psycopg2

from app.db.revisions import VERSIONS, heads


def is_current(url: str, versions: Path = VERSIONS) -> bool:
    """Tell whether the database is at the head of the migrations."""
    return _recorded(url) == heads(versions) != set()


def _recorded(url: str) -> set[str]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            return {row[0] for row in cursor.fetchall()}
    except psycopg2.errors.UndefinedTable:
        return set()
    finally:
        connection.close()
