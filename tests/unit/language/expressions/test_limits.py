"""Hostile expressions: each ends at once, in a fault of the language, whatever it is given."""

import sys
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from app.engine.language.expressions import (
    ExpressionFault,
    budget,
    compile_expression,
    expression,
    patterns,
)
from tests.unit.language.expressions.hostile import BOMBS, MEGABYTE, SCOPE, attempt

MAX_CALLS = 5_000_000  # of functions, C's included: about half a second of one core
MOST_BYTES = 32 * MEGABYTE

ESCAPES = [
    "input.__class__.__mro__",
    "input['__class__']",
    "input.name.__class__.__base__.__subclasses__()",
    "''.constructor('return process')()",
    "''.__class__",
    "[].__class__.__bases__[0]",
    "{}.__proto__.polluted",
    "os.system('id')",
    "__import__('os').system('id')",
    "eval('1')",
    "exec('1')",
    "getattr(input, 'name')",
    "open('/etc/passwd')",
    "globals()",
    "lambda: 1",
    "input.name.format('{0.__class__}')",
    "'{0.__class__}'.replace",
    "(1).__add__",
    "size.__globals__",
    "map.constructor",
    "steps",
    "input.name; 1",
    "input.name = 1",
    "input.rows[1:2]",
    "x => x",
    "`id`",
    "$(id)",
    "${{ input }}",
    "{{ 7*7 }}",
    "#{7*7}",
    "\x00",
    "'\x00'",
    "\ud800",
    "'\ud800'",
    "\uff11 + \uff11",
    "input.name[0]",
    "this",
    "null.x",
    "true.x",
]


class Endless(BaseException):
    """More work than any expression may cause; not an `Exception`, so that nothing takes it for a fault."""


def fault_of(source: str) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        compile_expression(source).evaluate(SCOPE)
    return caught.value


def calls_of(work: Callable[[], None]) -> int:
    """Return how many functions the work calls: what time depends on, but the same on every machine.

    Raises:
        Endless: beyond `MAX_CALLS`.
    """
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}
        if calls > MAX_CALLS:
            raise Endless

    outer = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(outer)
    return calls


def steps_spent(source: str, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return what of its steps an evaluation spends."""
    frames: list[budget.Frame] = []

    class Kept(budget.Frame):
        def __init__(self, scope: Mapping[str, Any]) -> None:
            super().__init__(scope)
            frames.append(self)

    monkeypatch.setattr(expression, "Frame", Kept)
    with suppress(ExpressionFault):
        compile_expression(source).evaluate({"text": text})
    return budget.MAX_STEPS - frames[0].steps


@pytest.mark.parametrize("source", ESCAPES)
def test_there_is_no_way_out_of_the_data(source: str) -> None:
    assert fault_of(source).code in {
        "expression_syntax",
        "unknown_name",
        "unknown_path",
        "unknown_function",
    }


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_runs_out_of_steps_before_it_runs_out_of_time(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "monotonic", lambda: 0.0)

    assert calls_of(lambda: attempt(source)) < MAX_CALLS


@pytest.mark.parametrize(
    "source",
    [
        "text.contains('y')",
        "'y' in text",
        "text.upper()",
        "text.trim()",
        "text.split('y')",
        "text.replace('y', 'z')",
        "text.matches('y')",
        "text + 'y'",
        "[text, text].join()",
        "[text, text].max()",
        "url_encode(text)",
        "from_json(text)",
        "to_json(text)",
    ],
)
def test_a_pass_over_a_long_text_costs_steps(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = steps_spent(source, "x" * 10, monkeypatch)
    long = steps_spent(source, "x" * MEGABYTE, monkeypatch)

    assert long - short >= MEGABYTE >> budget.BYTES_PER_STEP_SHIFT


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_stays_small(source: str) -> None:
    tracemalloc.start()
    try:
        attempt(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MOST_BYTES


def test_a_regex_that_backtracks_for_ever_elsewhere_ends_here() -> None:
    scope = {"text": "a" * 100_000 + "b"}

    assert compile_expression("text.matches('(a+)+$')").evaluate(scope) is False


def test_the_patterns_that_are_kept_are_bounded() -> None:
    for number in range(2 * patterns.CACHED_PATTERNS):
        compile_expression("'a'.matches(x)").evaluate({"x": f"a{number}"})

    assert len(patterns._compiled) <= patterns.CACHED_PATTERNS


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("input.rows.map(x, x + 1)", "100,000 steps"),
        ("input.big + input.big + input.big + input.big", "4,000,000 bytes"),
        ("[input.big, input.big, input.big, input.big, input.big]", "The result has more than"),
        ("'a'.matches(input.big)", "1,000 characters"),
        ("input.pairs.matches('[ab]*a[ab]{900}c')", "texts of up to"),
        ("input.deep", "deeper than 100"),
        ("from_json(input.few.slice(0, 70).map(x, '[').join() + input.few.slice(0, 70).map(x, ']').join())",
         "64 levels"),
    ],
)  # fmt: skip
def test_a_limit_says_which_one(source: str, part: str) -> None:
    fault = fault_of(source)

    assert fault.code == "limit_exceeded"
    assert part in fault.detail


@pytest.mark.parametrize("source", ["input.rows.map(x, x)", "input.map"])
def test_time_is_limited_too(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(budget, "monotonic", lambda: float(next(ticks)))

    fault = fault_of(source)

    assert fault.code == "limit_exceeded"
    assert "250 ms" in fault.detail


def test_a_large_but_decent_amount_of_work_is_done() -> None:
    rows = [{"id": number, "total": number % 100} for number in range(5_000)]
    source = "input.filter(x, x.total > 50).map(x, {id: x.id, t: x.total * 2}).sort_by(x, -x.t).slice(0, 10)"

    result = compile_expression(source).evaluate({"input": rows})

    assert [row["t"] for row in result] == [198] * 10


def test_a_caller_near_the_recursion_limit_gets_a_fault() -> None:
    expression = compile_expression(
        "(" * 39 + "1" + ")" * 39 + " + -[[[[[[[[[[[[[[[input.name]]]]]]]]]]]]]]]"
    )

    def at_depth(left: int) -> None:
        if left:
            at_depth(left - 1)
        else:
            expression.evaluate(SCOPE)

    faults = []
    for depth in range(sys.getrecursionlimit()):
        try:
            at_depth(depth)
        except ExpressionFault as fault:
            faults.append(fault.code)
        except RecursionError:
            break

    assert "limit_exceeded" in faults
