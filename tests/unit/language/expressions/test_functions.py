from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, compile_expression
from app.engine.language.expressions.functions import FUNCTIONS


def value_of(source: str, **scope: Any) -> Any:
    return compile_expression(source).evaluate(scope)


def fault_of(source: str, **scope: Any) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        value_of(source, **scope)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("size([1, 2])", 2),
        ("{a: 1}.size()", 1),
        ("[1, 2].contains(2)", True),
        ("[1, 2].contains(true)", False),
        ("'a,b'.split('')", ["a", ",", "b"]),
        ("['a', true, 1.5].join()", "atrue1.5"),
        ("[].join(', ')", ""),
        ("'aaa'.replace('a', 'bb')", "bbbbbb"),
        ("'abc'.replace('', '-')", "-a-b-c-"),
        ("'xaby'.matches('ab')", True),
        ("'xaby'.matches('^ab$')", False),
        ("'é'.matches('^\\\\pL$')", True),
        ("url_encode('é/?&=')", "%C3%A9%2F%3F%26%3D"),
        ("[].sum()", 0),
        ("min('b', 'a')", "a"),
        ("[2.5, 1].max()", 2.5),
        ("[1, 1.0, true, '1', null, [1], [1.0], {a: 1}, {a: 1}].unique()",
         [1, True, "1", None, [1], {"a": 1}]),
        ("[].first()", None),
        ("[].last()", None),
        ("[1, 2, 3].slice(1)", [2, 3]),
        ("[1, 2, 3].slice(-2, 9)", [2, 3]),
        ("'abc'.slice(1)", "bc"),
        ("floor(2)", 2),
        ("ceil(-1.5)", -1),
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(0.5)", 1),
        ("round(-0.4)", 0),
        ("round(-0.04, 1)", 0.0),
        ("round(1.005, 2)", 1.01),
        ("round(7)", 7),
        ("round(7, 2)", 7),
        ("round(1e16)", 10_000_000_000_000_000),
        ("round(1e300, 2)", 1e300),
        ("round(1285714285714285.8, 15)", 1285714285714285.8),
        ("number(' -12 ')", -12),
        ("number('1e3')", 1000.0),
        ("number(5)", 5),
        ("number(duration('1m'))", 60),
        ("string('a')", "a"),
        ("string(null)", ""),
        ("string(true)", "true"),
        ("string(1.0)", "1.0"),
        ("string(duration('1.5s'))", "1.5"),
        ("string({a: [1, 'x']})", '{"a":[1,"x"]}'),
        ("bool(true)", True),
        ("bool('false')", False),
        ("to_json('a')", '"a"'),
        ("to_json(date('2026-01-31'))", '"2026-01-31T00:00:00Z"'),
        ("from_json('{\"a\": [1, 1.5, \"\\u00e9\", null]}')", {"a": [1, 1.5, "é", None]}),
        ("from_json('-9223372036854775808')", -(2**63)),
        ("merge({a: 1}, {b: 2}, {a: 3})", {"a": 3, "b": 2}),
        ("[].sort_by(x, x)", []),
        ("['b', 'a'].sort_by(x, x)", ["a", "b"]),
        ("[date('2026-02-01'), date('2026-01-01')].sort_by(d, d).map(d, d.month())", [1, 2]),
        ("[{n: 'a', v: 1}, {n: 'b', v: 0}, {n: 'c', v: 1}].sort_by(x, x.v).map(x, x.n).join()", "bac"),
        ("[1, 2].map(x, [10, 20].map(y, x * y))", [[10, 20], [20, 40]]),
        ("[1, 2].map(x, [x].map(x, x + 1)[0] + x)", [3, 5]),
        ("[].all(x, 1)", True),
        ("[].exists(x, 1)", False),
        ("[true, false].filter(x, x)", [True]),
    ],
)  # fmt: skip
def test_functions(source: str, value: Any) -> None:
    result = value_of(source)

    assert result == value
    assert type(result) is type(value)
    assert str(result) == str(value)


@pytest.mark.parametrize(
    ("source", "code", "part"),
    [
        ("size(1)", "type_mismatch", "size() needs a string, a list or a map, not a number"),
        ("lower(1)", "type_mismatch", "lower() needs a string, not a number: string() converts"),
        ("contains({a: 1}, 'a')", "type_mismatch", "key in map"),
        ("contains('a', 1)", "type_mismatch", "contains() needs a string"),
        ("join([null])", "type_mismatch", "not null"),
        ("join([[1]])", "type_mismatch", ".map(x, string(x))"),
        ("keys([1])", "type_mismatch", "keys() needs a map, not a list"),
        ("first({a: 1})", "type_mismatch", "`.values()`"),
        ("first(1)", "type_mismatch", "`[x]`"),
        ("sum([1, '2'])", "type_mismatch", "sum() needs a number, not a string"),
        ("abs(true)", "type_mismatch", "abs() needs a number, not a boolean"),
        ("slice([1], 1.5)", "type_mismatch", "whole number"),
        ("slice([1], true)", "type_mismatch", "whole number"),
        ("slice(1, 1)", "type_mismatch", "a list"),
        ("min([])", "invalid_value", "empty list"),
        ("max(1, 'a')", "type_mismatch", "max()"),
        ("max([null])", "type_mismatch", "max()"),
        ("[1, 'a'].sort_by(x, x)", "type_mismatch", "sort_by()"),
        ("[true].sort_by(x, x)", "type_mismatch", "sort_by()"),
        ("{a: 1}.map(x, x)", "type_mismatch", "`.keys()`"),
        ("[1].filter(x, x)", "type_mismatch", "filter() needs true or false"),
        ("[1].all(x, x)", "type_mismatch", "all() needs true or false"),
        ("[null].exists(x, x)", "type_mismatch", "exists() needs true or false"),
        ("round(1, 16)", "invalid_value", "0 to 15"),
        ("round(1, -1)", "invalid_value", "0 to 15"),
        ("round(1e300)", "limit_exceeded", "too large"),
        ("floor(1e300)", "limit_exceeded", "too large"),
        ("ceil(1e300)", "limit_exceeded", "too large"),
        ("number('abc')", "invalid_value", "number() cannot read"),
        ("number('')", "invalid_value", "number() cannot read"),
        ("number('0x10')", "invalid_value", "number() cannot read"),
        ("number('\u0661')", "invalid_value", "number() cannot read"),
        ("number('nan')", "invalid_value", "number() cannot read"),
        ("number(null)", "type_mismatch", "not null"),
        ("number(true)", "type_mismatch", "`x ? 1 : 0`"),
        ("number('1e999')", "limit_exceeded", "too large"),
        ("number('9223372036854775808')", "limit_exceeded", "too large"),
        ("bool('yes')", "invalid_value", '"true" and "false"'),
        ("bool(1)", "invalid_value", "x == 1"),
        ("from_json('{')", "invalid_value", "not valid JSON"),
        ("from_json('NaN')", "invalid_value", "not valid JSON"),
        ("from_json('-Infinity')", "invalid_value", "not valid JSON"),
        ("from_json('\"\\\\ud800\"')", "invalid_value", "not valid JSON"),
        ("from_json('[\"\\\\u0000\"]')", "invalid_value", "not valid JSON"),
        ("from_json('{\"\\\\ud800\": 1}')", "invalid_value", "not valid JSON"),
        ("from_json('1e999')", "limit_exceeded", "too large"),
        ("from_json('9223372036854775808')", "limit_exceeded", "too large"),
        ("from_json(1)", "type_mismatch", "from_json() needs a string"),
        ("'a'.matches('(' + '')", "invalid_value", "RE2"),
        ("'a'.matches(1)", "type_mismatch", "a string"),
        ("merge({}, 1)", "type_mismatch", "merge() needs a map"),
    ],
)  # fmt: skip
def test_a_function_says_what_it_needs(source: str, code: str, part: str) -> None:
    fault = fault_of(source)

    assert fault.code == code
    assert part in fault.detail


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"string", "to_json"}))
def test_each_function_refuses_null_with_a_fault_of_the_language(name: str) -> None:
    arguments = ", ".join(["null"] * FUNCTIONS[name].least)

    assert name in fault_of(f"{name}({arguments})").detail


@pytest.mark.parametrize("source", ["to_json(x)", "x.matches('a')", "url_encode(x)", "string([x])"])
def test_half_a_surrogate_pair_in_the_data_is_a_fault(source: str) -> None:
    assert fault_of(source, x="\ud800").code == "invalid_value"


def test_no_fault_quotes_a_value_of_the_data() -> None:
    sources = [
        "number(x)", "bool(x)", "date(x)", "duration(x)", "from_json(x)", "x.y", "x + 1", "x < 1", "x && true",
        "''.matches(x)", "round(1, x)", "{a: 1}[x]", "[1].map(y, y.z + x)", "x.map(y, y)",
    ]  # fmt: skip

    details = [fault_of(source, x="s3cr3t(").detail for source in sources]

    assert not [detail for detail in details if "s3cr3t" in detail]
