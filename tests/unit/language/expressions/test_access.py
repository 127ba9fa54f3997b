from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, compile_expression

SCOPE: dict[str, Any] = {
    "input": {
        "name": "Ada",
        "none": None,
        "items": [{"id": 1}, {"id": 2}],
        "in": "keyword",
        "empty": {},
        "two words": 3,
    },
    "steps": {"sign-off": {"output": {"ok": True}}, "fetch": {"output": {"total": 7}}},
    "key": "name",
    "at": 1,
}


class Lazy(Mapping[str, Any]):
    def __init__(self, **values: Any) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Status(StrEnum):
    SUCCEEDED = "succeeded"


def value_of(source: str, scope: Mapping[str, Any] = SCOPE) -> Any:
    return compile_expression(source).evaluate(scope)


def fault_of(source: str, scope: Mapping[str, Any] = SCOPE) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        value_of(source, scope)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.name", "Ada"),
        ("input['name']", "Ada"),
        ("input[key]", "Ada"),
        ("input.in", "keyword"),
        ("input['two words']", 3),
        ("steps['sign-off'].output.ok", True),
        ("input.items[0].id", 1),
        ("input.items[-1].id", 2),
        ("input.items[at].id", 2),
        ("input.items[at - 2].id", 2),
        ("(input).name", "Ada"),
        ("{a: 1}.a", 1),
        ("[1, 2][1]", 2),
        ("'abc'.size()", 3),
    ],
)
def test_access_looks_up_maps_and_lists(source: str, value: Any) -> None:
    assert value_of(source) == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input?.name", "Ada"),
        ("input?.missing", None),
        ("input?.missing.x.y", None),
        ("input.none?.x", None),
        ("input.none?.x.y[0]", None),
        ("input?.['missing']", None),
        ("input?['missing']", None),
        ("input.items?[9]", None),
        ("input.items?.[9].id", None),
        ("input.items?[at + 8].id", None),
        ("input?[key]", "Ada"),
        ("input.none?[key]", None),
        ("input.none?.lower()", None),
        ("input.name?.lower()", "ada"),
        ("input.none?.map(x, x)", None),
        ("input.items?.map(x, x.id)", [1, 2]),
        ("input.missing ?? 1", 1),
        ("input.missing.deep[3].x ?? 1", 1),
        ("input.none.x ?? 1", 1),
        ("input.none ?? 1", 1),
        ("input.name ?? 1", "Ada"),
        ("input.missing.lower() ?? 'x'", "x"),
        ("input.missing.map(x, x) ?? 'x'", "x"),
        ("input.missing[key] ?? 'x'", "x"),
        ("input.missing ?? input.other ?? 2", 2),
        ("(input.missing) ?? 1", 1),
        ("[1].map(x, x) ?? 2", [1]),
        ("[{}].map(x, x.y ?? 2)", [2]),
        ("(1 + 1) ?? 3", 2),
        ("steps?.n?.output?.i ?? 0", 0),
    ],
)
def test_optional_access_and_defaults_cope_with_what_is_not_there(source: str, value: Any) -> None:
    assert value_of(source) == value


@pytest.mark.parametrize(
    ("source", "code", "parts"),
    [
        ("inputs.name", "unknown_name", ["`inputs`", "input, steps, key, at", "Did you mean `input`?"]),
        ("zzz", "unknown_name", ["`zzz`", "input, steps"]),
        ("zzz ?? 1", "unknown_name", ["`zzz`"]),
        ("input.nam", "unknown_path", ["`input.nam`", "name, none, items", "Did you mean `name`?"]),
        ("input.empty.x", "unknown_path", ["`input.empty` is empty"]),
        ("steps.sign.output", "unknown_path", ["`steps.sign`", '["sign-off"]', "Did you mean `sign-off`?"]),
        ("steps.fetch.output.totl", "unknown_path", ["`steps.fetch.output.totl`", "Did you mean `total`?"]),
        ("steps.fetch.wrong.x.y", "unknown_path", ["`steps.fetch.wrong`"]),
        ("input.none.x", "unknown_path", ["`input.none` is null", "`?.`"]),
        ("input.name.first", "unknown_path", ["`input.name` is a string", "no fields"]),
        ("input.items.id", "unknown_path", ["list of 2 items"]),
        ("input.items[2]", "unknown_path", ["`input.items[2]`", "list of 2 items"]),
        ("input.items[at + 5]", "unknown_path", ["`input.items[…]`", "list of 2 items"]),
        ("input[0]", "unknown_path", ["`input` is a map"]),
        ("input[key + 'x']", "unknown_path", ["such key", "name, none"]),
        ("input.empty[key]", "unknown_path", ["is empty"]),
        ("input[at]", "unknown_path", ["`input` is a map"]),
        ("input.name[0]", "unknown_path", ["is a string"]),
        ("input.name?.first", "unknown_path", ["is a string"]),
        ("input.name?[at]", "unknown_path", ["is a string"]),
        ("input[true]", "type_mismatch", ["`input[…]` has a boolean in its brackets"]),
        ("input[1.5]", "type_mismatch", ["a number"]),
        ("input[null]", "type_mismatch", ["null"]),
        ("input?.name.x", "unknown_path", ["`input.name` is a string"]),
        ("input['two words'].x", "unknown_path", ['`input["two words"]`']),
        ("input.items.map(x, x.idd)", "unknown_path", ["`x.idd`", "Did you mean `id`?"]),
        ("input.items[at].idd", "unknown_path", ["`input.items[…].idd`"]),
        ("'a'.b", "unknown_path", ["is a string"]),
    ],
)  # fmt: skip
def test_an_unknown_path_names_what_is_there(source: str, code: str, parts: list[str]) -> None:
    fault = fault_of(source)

    assert fault.code == code
    for part in parts:
        assert part in fault.detail


def test_a_key_that_comes_from_data_is_not_quoted() -> None:
    fault = fault_of("input[secret]", {"input": {"a": 1}, "secret": "s3cr3t"})

    assert "s3cr3t" not in fault.detail


def test_the_list_of_what_is_there_is_bounded() -> None:
    names = {f"{'n' * 70}{number}": number for number in range(1000)}

    detail = fault_of("input.zz", {"input": names}).detail

    assert len(detail) < 1200
    assert detail.endswith("….")


def test_any_mapping_reads_like_a_map() -> None:
    scope = Lazy(steps=Lazy(fetch=Lazy(output={"total": 7})))

    assert value_of("steps.fetch.output.total", scope) == 7
    assert value_of("steps?.n?.output ?? 0", scope) == 0
    assert value_of("steps", scope) == {"fetch": {"output": {"total": 7}}}
    assert value_of("'fetch' in steps && size(steps) == 1", scope) is True
    assert "`steps` has fetch" in fault_of("steps.n", scope).detail


def test_a_string_enumeration_reads_like_a_string() -> None:
    scope = {"status": Status.SUCCEEDED}

    assert value_of("status == 'succeeded' && status in ['succeeded']", scope) is True
    assert type(value_of("status", scope)) is str


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", (1, 2), object()])
def test_what_is_no_json_does_not_come_out(value: Any) -> None:
    assert fault_of("x", {"x": value}).code == "type_mismatch"
    assert fault_of("[x].unique()", {"x": value}).code == "type_mismatch"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, -(2**63) - 1, 2**5000])
def test_numbers_that_json_cannot_carry_do_not_come_out(value: Any) -> None:
    assert fault_of("x", {"x": value}).code == "limit_exceeded"
    assert fault_of("[[x]]", {"x": value}).code == "limit_exceeded"
    assert fault_of("x + 0", {"x": value}).code == "limit_exceeded"


def test_an_integer_that_no_float_holds_is_a_fault() -> None:
    assert fault_of("x * 1.5", {"x": 2**5000}).code == "limit_exceeded"


def test_the_result_shares_nothing_with_the_scope() -> None:
    scope = {"input": {"list": [{"a": [1]}]}}

    result = value_of("input.list", scope)
    result[0]["a"].append(2)

    assert scope == {"input": {"list": [{"a": [1]}]}}


def test_constant_lists_are_not_shared_between_evaluations() -> None:
    value_of("[1, 2]").append(3)

    assert value_of("[1, 2]") == [1, 2]


@pytest.mark.parametrize(
    "source",
    [
        "input.items.sort_by(x, -x.id)",
        "input.items.reverse()",
        "merge(input, {name: 1})",
        "input.items + [1]",
        "[input.items, [1]].flatten()",
        "input.items.unique()",
    ],
)
def test_no_function_changes_what_it_is_given(source: str) -> None:
    before = repr(SCOPE)

    value_of(source)

    assert repr(SCOPE) == before
