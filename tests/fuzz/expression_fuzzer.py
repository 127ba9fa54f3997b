"""Feeds the expression language with mutated text, guided by coverage: `python -m tests.fuzz.expression_fuzzer CORPUS`.

Whatever comes in, a value that is JSON comes out, or a fault with a sentence. Anything else ends the process with a report.
"""

import sys
from contextlib import suppress
from typing import Any

import atheris

with atheris.instrument_imports(include=["app.engine.language"]):
    from app.engine.language.expressions import (
        ExpressionFault,
        compile_expression,
        compile_template,
    )

import orjson

SCOPE: dict[str, Any] = {
    "input": {"id": 7, "name": "${{ 7*7 }}", "items": [1, 2.5, "x", None, {"a": []}], "on": True},
    "steps": {"a": {"output": {"n": 3, "text": "ab" * 50}}},
    "run": {"id": "r", "started_at": "2026-11-21T12:00:00Z"},
    "now": "2026-11-21T12:00:00Z",
}


def test_one_input(data: bytes) -> None:
    """Evaluate one text as an expression and as a template."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ExpressionFault):
        orjson.dumps(compile_expression(text).evaluate(SCOPE))
    with suppress(ExpressionFault):
        compile_template({"value": [text, f"${{{{ {text} }}}}"]}).render(SCOPE)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
