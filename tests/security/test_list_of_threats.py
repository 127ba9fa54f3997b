"""The list of threats in docs/security.md and the tests here are one."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "security.md").read_text()
ROW = re.compile(r"^\| \*\*(.+?)\*\*.*? \| (.+) \| ((?:`test_\w+` ?)+) \|$", re.MULTILINE)
THREATS = 21


def _rows() -> dict[str, list[str]]:
    """Return the names of each threat's tests."""
    return {threat: re.findall(r"`(test_\w+)`", tests) for threat, _, tests in ROW.findall(PAGE)}


def _tests() -> list[str]:
    return [
        node.name
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


def test_every_row_of_the_table_is_read() -> None:
    table = PAGE.partition("## Threats")[2].partition("\n## ")[0]

    lines = [line for line in table.splitlines() if line.startswith("| **")]
    assert (len(lines), len(_rows())) == (THREATS, THREATS)


def test_each_threat_has_its_tests_and_each_test_its_threat() -> None:
    named = [test for tests in _rows().values() for test in tests]

    assert all(_rows().values())
    assert sorted(named) == sorted(_tests())
