from typing import Any

import pytest

from app.engine.language.expressions import ExpressionFault, Reference, compile_template

SCOPE: dict[str, Any] = {
    "input": {
        "id": 7,
        "name": "Ada",
        "none": None,
        "list": [1, "a"],
        "evil": "${{ 7*7 }}",
        "big": "x" * 1_500_000,
    },
    "now": "2026-01-31T09:30:00Z",
}


def rendered(value: Any) -> Any:
    return compile_template(value).render(SCOPE)


def fault_of(value: Any) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        rendered(value)
    return caught.value


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("${{ input.id }}", 7),
        ("${{input.id}}", 7),
        ("${{ input.list }}", [1, "a"]),
        ("${{ input.none }}", None),
        ("${{ date(now) }}", "2026-01-31T09:30:00Z"),
        ("${{ input.id }} ", "7 "),
        ("order ${{ input.id }} of ${{ input.name }}", "order 7 of Ada"),
        ("${{ input.id }}${{ input.id }}", "77"),
        ("[${{ input.none }}]", "[]"),
        ("is ${{ input.id > 3 }}", "is true"),
        ("is ${{ 1.0 }}", "is 1.0"),
        ("is ${{ input.list }}", 'is [1,"a"]'),
        ("is ${{ {a: {b: 1}} }}", 'is {"a":{"b":1}}'),
        ("${{ {a: {b: 1}}}}", {"a": {"b": 1}}),
        ("at ${{ date(now) }} ${{ duration('1m') }}", "at 2026-01-31T09:30:00Z 60"),
        ("${{ '}}' }}", "}}"),
        ("${{ \"}}\" + '\\'}}' }}!", "}}'}}!"),
        ("${{ '${{ 1 }}' }}", "${{ 1 }}"),
        ("$${{ input.id }}", "${{ input.id }}"),
        ("$$${{ input.id }}", "$${{ input.id }}"),
        ("$${{ a }} ${{ input.id }}", "${{ a }} 7"),
        ("{{ input.id }} $ {{ }} ${ x }", "{{ input.id }} $ {{ }} ${ x }"),
        ("${{ input.evil }}", "${{ 7*7 }}"),
        ("it says ${{ input.evil }}", "it says ${{ 7*7 }}"),
        ("${{ '$' }}${{ '{{ 7*7 }}' }}", "${{ 7*7 }}"),
        ("", ""),
        (5, 5),
        (None, None),
        ({"a": ["${{ input.id }}", {"b": "${{ input.name }}"}], "c": True},
         {"a": [7, {"b": "Ada"}], "c": True}),
        ({"${{ input.id }}": 1}, {"${{ input.id }}": 1}),
    ],
)  # fmt: skip
def test_rendering(value: Any, result: Any) -> None:
    outcome = rendered(value)

    assert outcome == result
    assert type(outcome) is type(result)


def test_references_carry_the_pointer_of_their_string() -> None:
    template = compile_template({"a/b": ["x", "${{ input.id + item }}"], "c~": "${{ now ?? 1 }}!"})

    assert template.references == (
        ("/a~1b/1", Reference(("input", "id"))),
        ("/a~1b/1", Reference(("item",))),
        ("/c~0", Reference(("now",), optional=True)),
    )
    assert template.faults == ()
    assert template.is_static is False


def test_every_broken_expression_is_listed_at_once() -> None:
    template = compile_template(
        {"a": "${{ 1 + }} and ${{ lowr('x') }}", "b": ["${{ ok", "${{ }}"], "c": "${{ fine }}"}
    )

    assert [(pointer, fault.code) for pointer, fault in template.faults] == [
        ("/a", "expression_syntax"),
        ("/a", "unknown_function"),
        ("/b/0", "expression_syntax"),
        ("/b/1", "expression_syntax"),
    ]
    assert template.references == (("/c", Reference(("fine",))),)


def test_a_template_with_faults_raises_the_first() -> None:
    fault = fault_of({"a": "${{ 1 + }}"})

    assert fault.code == "expression_syntax"
    assert fault.detail.startswith("At /a: ")


@pytest.mark.parametrize("text", ["${{ input.idd }}", "id: ${{ input.idd }}"])
def test_a_fault_while_rendering_names_the_pointer(text: str) -> None:
    fault = fault_of({"list": [1, text]})

    assert fault.code == "unknown_path"
    assert fault.detail.startswith("At /list/1: There is no `input.idd`")


def test_a_fault_in_a_bare_string_says_so() -> None:
    assert fault_of("${{ zzz }}").detail.startswith("At the top: ")


@pytest.mark.parametrize(
    "text", ["${{ 1", "${{ '}}", '${{ "}}', "${{ {a: 1 }}", "${{ 1 }", "${{ '\\", '${{ "\\']
)
def test_an_expression_that_is_not_closed_is_a_fault(text: str) -> None:
    fault = fault_of(text)

    assert fault.code == "expression_syntax"
    assert "end it with `}}`" in fault.detail


@pytest.mark.parametrize("value", [1, "plain", ["a", {"b": "c"}], "$${{ x }}"])
def test_a_value_without_expressions_is_static(value: Any) -> None:
    template = compile_template(value)

    assert template.is_static is True
    assert template.references == ()


def test_a_static_value_is_rendered_afresh_each_time() -> None:
    template = compile_template({"a": [1]})

    template.render({})["a"].append(2)

    assert template.render({}) == {"a": [1]}


def test_a_value_that_is_nested_too_deeply_is_a_fault() -> None:
    value: Any = "x"
    for _ in range(70):
        value = [value]

    ((pointer, fault),) = compile_template(value).faults

    assert fault.code == "limit_exceeded"
    assert pointer == "/0" * 65


def test_all_expressions_of_a_value_share_one_allowance() -> None:
    assert fault_of(["${{ input.big }}"] * 3).code == "limit_exceeded"
    assert fault_of("${{ input.big }}" * 3).code == "limit_exceeded"


def test_a_long_hostile_text_is_scanned_in_one_pass() -> None:
    hostile = ["${{ " + "\\'" * 100_000, "${{ " + "'\"" * 100_000, "${{" * 80_000, "$" * 250_000]

    for text in hostile:
        assert len(compile_template(text).faults) <= 1
