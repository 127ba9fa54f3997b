"""The README keeps to what is there: settings, commands, links."""

import re
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.core.config import Settings

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = {name: (default, text) for name, default, text in ROW.findall(README)}

    assert rows == {
        name.upper(): (_shown(field.default), field.description)
        for name, field in Settings.model_fields.items()
    }


def _shown(default: object) -> str:
    if default in (None, ()):
        return "unset"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_command_is_mentioned() -> None:
    table = README.partition("## Commands")[2].partition("## Settings")[0]

    assert [name for name in COMMANDS if f"`{name}" not in table] == []


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md",
     *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))],
)  # fmt: skip
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page

    targets = LINK.findall(path.read_text())

    assert [target for target in targets if not (path.parent / target).exists()] == []
