import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from app.engine.language.expressions import FUNCTIONS, MACROS, compile_expression

PAGE = Path(__file__).parents[4] / "docs" / "expressions.md"
ROW = re.compile(r"^\| `\.?(\w+)\(.*\| `(.*)` \| `(.*)` \|$", re.MULTILINE)


class Row(NamedTuple):
    name: str
    example: str
    gives: str


ROWS = [Row(*groups) for groups in ROW.findall(PAGE.read_text())]


def test_the_page_lists_exactly_the_functions_that_there_are() -> None:
    assert [row.name for row in ROWS] == [*FUNCTIONS, *(row.name for row in ROWS[len(FUNCTIONS) :])]
    assert sorted(row.name for row in ROWS[len(FUNCTIONS) :]) == sorted(MACROS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_example_gives_what_the_page_says(row: Row) -> None:
    assert row.name in row.example
    assert compile_expression(row.example).evaluate({}) == json.loads(row.gives)
