"""Expressions that are evaluated later keep what they refer to, and no more."""

from typing import Any

import pytest

from app.engine.language.deferred import defer, evaluate_deferred
from app.engine.language.expressions import ExpressionFault, compile_expression

SCOPE: dict[str, Any] = {
    "input": {"a": 1, "b": {"c": 2, "d": 3}, "list": [{"x": 1}, {"x": 2}], "null": None},
    "steps": {"one": {"output": {"big": "x" * 100, "n": 5}}, "two": {"output": 6}},
    "now": "2026-11-21T00:00:00Z",
}


def _kept(source: str) -> Any:
    return defer(compile_expression(source), SCOPE)["scope"]


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("event.x == 1", {}),
        ("input.a + input.b.c", {"input": {"a": 1, "b": {"c": 2}}}),
        ("input.b.c == 1 || size(input.b) == 2", {"input": {"b": {"c": 2, "d": 3}}}),
        ("size(input) + input.a", {"input": SCOPE["input"]}),
        ("input.list[1].x", {"input": {"list": [{"x": 1}, {"x": 2}]}}),
        ("input.null?.x", {"input": {"null": None}}),
        ("steps.one.output.n", {"steps": {"one": {"output": {"n": 5}}}}),
        ("steps?.none?.output ?? 1", {"steps": {}}),
        ("input.missing.deep ?? event.y", {"input": {}}),
        ("now", {"now": SCOPE["now"]}),
    ],
)
def test_it_keeps_what_it_refers_to(source: str, kept: Any) -> None:
    assert _kept(source) == kept


@pytest.mark.parametrize(
    "source",
    [
        "input.b.c + event.n",
        "input.list.map(item, item.x + event.n)",
        "steps?.none?.output ?? event.n",
        "input.null?.x ?? event.n",
        "keys(steps.one.output)",
    ],
)
def test_it_comes_to_the_same_as_at_once(source: str) -> None:
    expression, local = compile_expression(source), {"event": {"n": 1}}

    later = evaluate_deferred(defer(expression, SCOPE), local, 1_000)

    assert later == expression.evaluate({**SCOPE, **local})


def test_it_is_bounded() -> None:
    deferred = defer(compile_expression("event.list.map(x, x * 2)"), SCOPE)

    with pytest.raises(ExpressionFault):
        evaluate_deferred(deferred, {"event": {"list": list(range(1_000))}}, 100)
