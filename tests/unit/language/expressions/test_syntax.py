from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, Reference, compile_expression
from app.engine.language.expressions.faults import LimitExceeded, SyntaxFault, UnknownFunction


def value_of(source: str, **scope: Any) -> Any:
    return compile_expression(source).evaluate(scope)


def fault_of(source: str) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        compile_expression(source)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("12", 12),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ('"a\\n\\u00e9\\/"', "a\né/"),
        ("'it\\'s'", "it's"),
        ('"\\ud83d\\ude00"', "😀"),
        ("[]", []),
        ("[1, [true, null]]", [1, [True, None]]),
        ("[1 + 1]", [2]),
        ("{}", {}),
        ('{"a b": 1, c: {d: 2}, in: 3}', {"a b": 1, "c": {"d": 2}, "in": 3}),
        ("9223372036854775807", 9223372036854775807),
        (" \t\r\n1", 1),
    ],
)
def test_literals_are_those_of_json(source: str, value: Any) -> None:
    result = value_of(source)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("2 * 6 / 3 % 3", 1),
        ("1 + 1 == 2 && 3 > 2", True),
        ("false && false || true", True),
        ("true || false && false", True),
        ("!false && true", True),
        ("--1", 1),
        ("-[1][0]", -1),
        ("false ? 1 : true ? 2 : 3", 2),
        ("1 < 2 ? 'a' : 'b'", "a"),
        ("null ?? null ?? 3", 3),
        ("null ?? null", None),
        ("null ?? true ? 1 : 2", 1),
        ("(null ?? 2) + 1", 3),
        ("!(null ?? false)", True),
        ("true ? [1] : [2]", [1]),
        ("1 in [1] == true", True),
    ],
)
def test_precedence_is_that_of_javascript(source: str, value: Any) -> None:
    assert value_of(source) == value


@pytest.mark.parametrize(
    ("source", "position", "part"),
    [
        ("", 0, "is empty"),
        ("   ", 0, "is empty"),
        ("1 +", 3, "ends at position 3 where a value is expected"),
        ("1 2", 2, "found `2`"),
        ("'a' 'b'", 4, "found a string"),
        ("(1", 2, "`)`"),
        ("[1, 2", 5, "`]`"),
        ("{1: 2}", 1, "a key"),
        ('{"a" 2}', 5, "`:`"),
        ("{a: 1", 5, "`}`"),
        ("a.", 2, "a name"),
        ("a.1", 2, "a name"),
        ("a ? 1", 5, "`:`"),
        ("a = 1", 2, "`==`"),
        ("a & b", 2, "`&&`"),
        ("a | b", 2, "`||`"),
        ("'abc", 0, "close the string"),
        ('"abc', 0, "close the string"),
        ("a # b", 2, "quote it"),
        ("'\\x41'", 0, "Unknown escape"),
        ("'\\ud83d'", 0, "surrogate"),
        ("'\\u0000'", 0, "NUL"),
        ("a ?? 0 > 3", 2, "parentheses"),
        ("1 + a ?? 0", 6, "parentheses"),
        ("[1].map(1, x)", 8, "a name for the item"),
        ("[1].map(true, x)", 8, "a name for the item"),
        ("[1].map(x)", 9, "`,`"),
        ("[1].map(x, x", 12, "`)`"),
        ("map([1], x)", 0, "list.map(x, …)"),
        ("size()", 0, "takes 1 arguments"),
        ("[1].slice()", 4, "takes 2 to 3 arguments"),
        ("in", 0, "a value"),
        ("a[1", 3, "`]`"),
    ],
)
def test_a_syntax_fault_says_where_and_how_to_mend_it(
    source: str, position: int, part: str
) -> None:
    fault = fault_of(source)

    assert isinstance(fault, SyntaxFault)
    assert fault.code == "expression_syntax"
    assert fault.position == position
    assert part in fault.detail


def test_an_unknown_function_names_the_nearest() -> None:
    fault = fault_of("input.name.lowr()")

    assert isinstance(fault, UnknownFunction)
    assert "Did you mean `lower`?" in fault.detail
    assert fault.position == 11


def test_an_unknown_function_that_resembles_none_points_to_the_docs() -> None:
    assert "docs/expressions.md" in fault_of("zzzzzzzz(1)").detail


def test_a_pattern_that_re2_refuses_is_found_before_anything_runs() -> None:
    assert fault_of("input.name.matches('(?=a)')").code == "invalid_value"
    assert fault_of("matches(input.name, '(')").code == "invalid_value"


@pytest.mark.parametrize(
    "source",
    [
        "1" * 4097,
        "(" * 4096,
        "1+" * 600 + "1",
        "(" * 41 + "1" + ")" * 41,
        "[" * 41 + "]" * 41,
        "!" * 41 + "true",
        "-" * 41 + "1",
        "true ? 1 : " * 41 + "2",
        "[1]" + ".map(x, [x]" * 40 + ")" * 40,
        "a[" * 41 + "0" + "]" * 41,
        "1 + 2 * (" * 30 + "1" + ")" * 30,
        "9223372036854775808",
        "1e999",
        "1" * 500,
    ],
)
def test_what_is_too_large_is_refused(source: str) -> None:
    assert isinstance(fault_of(source), LimitExceeded)


def test_the_depth_of_the_tree_counts_where_the_nesting_of_the_text_does_not() -> None:
    source = "1 + " * 30 + "1"

    assert value_of(source) == 31


def test_forty_levels_are_allowed() -> None:
    assert value_of("(" * 39 + "1" + ")" * 39) == 1


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("1", ()),
        ("input", (Reference(("input",)),)),
        ("steps.fetch.output.total > 1", (Reference(("steps", "fetch", "output", "total")),)),
        ('steps["sign-off"].output[0]', (Reference(("steps", "sign-off", "output", 0)),)),
        ("input.items[-1].a", (Reference(("input", "items", -1, "a")),)),
        ("input.a + input.a", (Reference(("input", "a")),)),
        ("steps?.n?.output", (Reference(("steps", "n", "output"), optional=True),)),
        ("input.a ?? input.b", (Reference(("input", "a"), True), Reference(("input", "b")))),
        ("input?[0]", (Reference(("input", 0), True),)),
        ("input.a.lower()", (Reference(("input", "a")),)),
        (
            "steps[input.name].output",
            (Reference(("steps",)), Reference(("input", "name"))),
        ),
        ("input.rows.map(x, x.a + item.b)", (Reference(("input", "rows")), Reference(("item", "b")))),
        ("[1].map(input, input.a)", ()),
        ("[1].map(x, [2].map(x, x) + [x.y])", ()),
        ("(input.a ? secrets.b : secrets).c", (
            Reference(("input", "a")), Reference(("secrets", "b")), Reference(("secrets",)),
        )),
    ],
)  # fmt: skip
def test_references_are_the_fixed_part_of_what_is_read(
    source: str, references: tuple[Reference, ...]
) -> None:
    assert compile_expression(source).references == references


def test_short_sources_are_compiled_once() -> None:
    assert compile_expression("1 + 41") is compile_expression("1 + 41")


def test_long_sources_are_not_kept() -> None:
    source = "1" + " " * 600

    assert compile_expression(source) is not compile_expression(source)
    assert compile_expression(source).source == source
