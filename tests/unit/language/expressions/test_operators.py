from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, compile_expression

MAX, MIN = 2**63 - 1, -(2**63)


def value_of(source: str, **scope: Any) -> Any:
    return compile_expression(source).evaluate(scope)


def fault_of(source: str, **scope: Any) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        value_of(source, **scope)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2.5", 3.5),
        ("'a' + 'b'", "ab"),
        ("[1] + [2]", [1, 2]),
        ("5 - 7", -2),
        ("2 * 3", 6),
        ("2 * 1.5", 3.0),
        ("6 / 3", 2),
        ("7 / 2", 3.5),
        ("1.0 / 4", 0.25),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("7.5 % 2", 1.5),
        ("-(1 + 1)", -2),
    ],
)
def test_arithmetic(source: str, value: Any) -> None:
    result = value_of(source)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 == 1.0", True),
        ("1 == true", False),
        ("0 == false", False),
        ("'1' == 1", False),
        ("null == null", True),
        ("null == false", False),
        ("[] == null", False),
        ("[1, 2] == [1.0, 2]", True),
        ("[1] == [true]", False),
        ("[1] == [1, 2]", False),
        ("{a: [1]} == {a: [1]}", True),
        ("{a: 1} == {a: true}", False),
        ("{a: 1} == {b: 1}", False),
        ("{a: 1} != {b: 1}", True),
        ("1 < 2", True),
        ("2 <= 2.0", True),
        ("'b' > 'a'", True),
        ("'b' >= 'c'", False),
        ("1 in [1.0]", True),
        ("1 in [true]", False),
        ("'a' in ['b', 'a']", True),
        ("'a' in []", False),
        ("[1] in [[1]]", True),
        ("'a' in {a: 1}", True),
        ("1 in {a: 1}", False),
        ("'b' in 'abc'", True),
        ("true && true && false", False),
        ("false || false || true", True),
        ("false && 1", False),
        ("true || 1", True),
        ("false || false", False),
    ],
)
def test_comparison_and_logic(source: str, value: bool) -> None:
    assert value_of(source) is value


def test_a_long_text_is_found_in_a_list() -> None:
    text = "x" * 2000

    assert value_of("text in list", text=text, list=["y", text[:1999] + "x"]) is True


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("'a' + 1", "a string and a number"),
        ("1 + null", "a number and null"),
        ("true + 1", "a boolean and a number"),
        ("[1] + 1", "a list and a number"),
        ("'a' - 'b'", "a string from a string"),
        ("'a' * 2", "`*` needs two numbers, not a string"),
        ("2 * true", "not a boolean"),
        ("1 / 'a'", "`/` needs two numbers"),
        ("1 % 'a'", "`%` needs two numbers"),
        ("-'a'", "`-` needs a number, not a string"),
        ("-true", "not a boolean"),
        ("1 < 'a'", "a number with a string"),
        ("true < false", "a boolean with a boolean"),
        ("null < 1", "null with a number"),
        ("[1] < [2]", "a list with a list"),
        ("1 in 1", "`in` cannot look for a number in a number"),
        ("1 in 'a'", "a number in a string"),
        ("1 && true", "`&&` needs true or false, not a number"),
        ("true && 'a'", "size(x) > 0"),
        ("null || true", "x != null"),
        ("!1", "`!` needs"),
        ("1 ? 2 : 3", "`?:` needs"),
    ],
)
def test_a_type_that_does_not_fit_says_what_is_needed(source: str, part: str) -> None:
    fault = fault_of(source)

    assert fault.code == "type_mismatch"
    assert part in fault.detail


@pytest.mark.parametrize("source", ["1 / 0", "1 / 0.0", "1 % 0", "0 / (1 - 1)"])
def test_division_by_zero_is_a_fault(source: str) -> None:
    assert fault_of(source).code == "invalid_value"


@pytest.mark.parametrize(
    "source",
    [
        "max + 1",
        "min - 1",
        "max * 2",
        "-min",
        "min / -1",
        "1e308 * 10",
        "1e308 + 1e308",
        "1e308 / 1e-10",
        "-1e308 - 1e308",
        "abs(min)",
        "[max, 1].sum()",
    ],
)
def test_numbers_stay_within_what_json_carries(source: str) -> None:
    assert fault_of(source, max=MAX, min=MIN).code == "limit_exceeded"


def test_the_whole_range_of_64_bits_is_exact() -> None:
    assert value_of("max - 1 + 1", max=MAX) == MAX
    assert value_of("-9223372036854775807 - 1") == MIN


def test_numbers_of_derived_types_count_as_numbers() -> None:
    class Count(int):
        pass

    assert value_of("x + 1 == 3 && x < 3 && x - 1 == 1", x=Count(2)) is True
