"""Is the embedded database at the newest migration? Asked cheaply, so that most starts need not load Alembic."""

import re
from pathlib import Path

import psycopg2

VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
_REVISION = re.compile(r"^revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_PARENTS = re.compile(r"^down_revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_QUOTED = re.compile(r"""["']([^"']+)["']""")


def is_current(url: str, versions: Path = VERSIONS) -> bool:
    """Tell whether the database is at the head of the migrations."""
    return _recorded(url) == heads(versions) != set()


def heads(versions: Path) -> set[str]:
    """Return the revisions that no other one builds on."""
    texts = [file.read_text() for file in versions.glob("*.py")]
    revisions = {name for text in texts for name in _names(_REVISION, text)}
    return revisions - {name for text in texts for name in _names(_PARENTS, text)}


def _names(pattern: re.Pattern[str], text: str) -> list[str]:
    return [name for line in pattern.findall(text) for name in _QUOTED.findall(line)]


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
