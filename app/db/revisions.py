"""Which migrations there are, read from their files: Alembic, which knows it too, takes a fifth of a second to import."""

import re
from functools import cache
from pathlib import Path

VERSIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
_REVISION = re.compile(r"^revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_PARENTS = re.compile(r"^down_revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_QUOTED = re.compile(r"""["']([^"']+)["']""")


@cache
def heads(versions: Path = VERSIONS) -> frozenset[str]:
    """Return the revisions that no other one builds on."""
    texts = [file.read_text() for file in versions.glob("*.py")]
    revisions = {name for text in texts for name in _names(_REVISION, text)}
    return frozenset(revisions - {name for text in texts for name in _names(_PARENTS, text)})


def _names(pattern: re.Pattern[str], text: str) -> list[str]:
    return [name for line in pattern.findall(text) for name in _QUOTED.findall(line)]
