"""Random expressions: a tiny evaluator of our own says what they must give; random text never does harm."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.engine.language.expressions import ExpressionFault, compile_expression, compile_template

SCOPE: dict[str, Any] = {
    "a": 3,
    "b": -2,
    "half": 0.5,
    "yes": True,
    "no": False,
    "text": "ab",
    "nothing": None,
    "list": [1, 2, 3],
    "map": {"a": 1, "b": {"c": "x"}},
}
LEVELS = [["||"], ["&&"], ["==", "!="], ["<", "<=", ">", ">=", "in"], ["+", "-"], ["*", "/", "%"]]
LEVEL = {symbol: level for level, symbols in enumerate(LEVELS) for symbol in symbols}
UNARY_LEVEL = len(LEVELS)
CHOICE_LEVEL = -1


class Wrong(Exception):
    """The oracle says that this must be a fault."""


@dataclass(frozen=True)
class Tree:
    """`kind` is an operator, or one of: value, name, list, ?:, ??, not, neg, size, item, map."""

    kind: str
    parts: tuple[Any, ...]


LEAVES = st.one_of(
    st.sampled_from([0, 1, 2, 7, 0.5, 2.0, True, False, None, "", "a", "ab"]).map(
        lambda value: Tree("value", (value,))
    ),
    st.sampled_from(sorted(SCOPE)).map(lambda name: Tree("name", (name,))),
)


def branches(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from(sorted(LEVEL)), inner, inner).map(lambda t: Tree(t[0], t[1:])),
        st.tuples(inner, inner, inner).map(lambda parts: Tree("?:", parts)),
        st.tuples(inner, inner).map(lambda parts: Tree("??", parts)),
        inner.map(lambda part: Tree("not", (part,))),
        inner.map(lambda part: Tree("neg", (part,))),
        inner.map(lambda part: Tree("size", (part,))),
        st.lists(inner, max_size=3).map(lambda parts: Tree("list", tuple(parts))),
        st.tuples(inner, inner).map(lambda parts: Tree("item", parts)),
        st.tuples(inner, inner).map(lambda parts: Tree("map", parts)),
    )


Family = dict[str, st.SearchStrategy[Tree]]


def leaves(*values: Any) -> st.SearchStrategy[Tree]:
    return st.sampled_from([Tree("value", (value,)) for value in values])


def names(*names: str) -> st.SearchStrategy[Tree]:
    return st.sampled_from([Tree("name", (name,)) for name in names])


def node(kinds: str, *parts: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.builds(lambda kind, *made: Tree(kind, made), st.sampled_from(kinds.split()), *parts)


SIMPLE: Family = {
    "number": leaves(0, 1, 2, 7, 0.5, 2.0) | names("a", "b", "half"),
    "truth": leaves(True, False) | names("yes", "no"),
    "text": leaves("", "a", "ab") | names("text"),
    "list": names("list") | st.just(Tree("list", ())),
}


def grown(inner: Family) -> Family:
    """Return trees one level higher, built so that most of them have a value."""
    number, truth, text, items = inner["number"], inner["truth"], inner["text"], inner["list"]
    some = st.one_of(number, truth, text, items, leaves(None), names("map", "nothing"))
    higher = {
        "number": node("+ - * / %", number, number)
        | node("neg", number)
        | node("size", text | items),
        "truth": node("&& ||", truth, truth)
        | node("not", truth)
        | node("< <= > >= == !=", number, number)
        | node("< <= > >= == != in", text, text)
        | node("== !=", some, some)
        | node("in", some, items)
        | node("in", text, names("map")),
        "text": node("+", text, text) | node("item", names("map"), text),
        "list": node("+", items, items)
        | node("map", items, some)
        | st.lists(some, max_size=3).map(lambda parts: Tree("list", tuple(parts))),
    }
    return {
        kind: inner[kind]
        | strategy
        | node("?:", truth, inner[kind], inner[kind])
        | node("??", names("nothing") | inner[kind], inner[kind])
        for kind, strategy in higher.items()
    }


SOUND = st.one_of(*grown(grown(grown(SIMPLE))).values())
WILD = st.recursive(LEAVES, branches, max_leaves=12)
TREES = SOUND | WILD


def text_of(tree: Tree, level: int = CHOICE_LEVEL) -> str:
    """Return the source, with no more parentheses than the table of precedence asks for."""
    text, own = _text_and_level(tree)
    return f"({text})" if own < level else text


def _text_and_level(tree: Tree) -> tuple[str, int]:  # noqa: C901, PLR0911 - one line for each kind
    parts = tree.parts
    match tree.kind:
        case "value":
            return orjson.dumps(parts[0]).decode(), UNARY_LEVEL + 1
        case "name":
            return parts[0], UNARY_LEVEL + 1
        case "list":
            return f"[{', '.join(map(text_of, parts))}]", UNARY_LEVEL + 1
        case "size":
            return f"size({text_of(parts[0])})", UNARY_LEVEL + 1
        case "item":
            return f"{text_of(parts[0], UNARY_LEVEL + 1)}[{text_of(parts[1])}]", UNARY_LEVEL + 1
        case "map":
            return (
                f"{text_of(parts[0], UNARY_LEVEL + 1)}.map(a, {text_of(parts[1])})",
                UNARY_LEVEL + 1,
            )
        case "not" | "neg":
            sign = "!" if tree.kind == "not" else "-"
            return f"{sign}{text_of(parts[0], UNARY_LEVEL)}", UNARY_LEVEL
        case "??":
            # In parentheses always, and its left side too: a path there would be read leniently.
            return f"((0 == 1 ? 0 : {text_of(parts[0], 0)}) ?? {text_of(parts[1], UNARY_LEVEL)})", 9
        case "?:":
            test, yes, no = parts
            return f"{text_of(test, 0)} ? {text_of(yes)} : {text_of(no)}", CHOICE_LEVEL
        case symbol:
            own = LEVEL[symbol]
            return f"{text_of(parts[0], own)} {symbol} {text_of(parts[1], own + 1)}", own


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number"}.get(type(value), type(value).__name__)


def need(condition: bool) -> None:
    if not condition:
        raise Wrong


def same(one: Any, other: Any) -> bool:
    if kind_of(one) != kind_of(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def expected(tree: Tree, names: dict[str, Any]) -> Any:
    parts = tree.parts
    if tree.kind == "value":
        return parts[0]
    if tree.kind == "name":
        return names[parts[0]]
    if tree.kind in {"&&", "||", "?:", "??", "map"}:
        return _expected_lazily(tree, names)
    values = [expected(part, names) for part in parts]
    if tree.kind == "list":
        return values
    if len(values) == 1:
        return _expected_of_one(tree.kind, values[0])
    return _expected_of_two(tree.kind, *values)


def _expected_lazily(tree: Tree, names: dict[str, Any]) -> Any:
    first = expected(tree.parts[0], names)
    if tree.kind == "??":
        return expected(tree.parts[1], names) if first is None else first
    if tree.kind == "map":
        need(isinstance(first, list))
        return [expected(tree.parts[1], {**names, "a": item}) for item in first]
    need(isinstance(first, bool))
    if tree.kind == "?:":
        return expected(tree.parts[1 if first else 2], names)
    if first is (tree.kind == "||"):
        return first
    second = expected(tree.parts[1], names)
    need(isinstance(second, bool))
    return second


def _expected_of_one(kind: str, value: Any) -> Any:
    if kind == "not":
        need(isinstance(value, bool))
        return not value
    if kind == "neg":
        need(kind_of(value) == "number")
        return -value
    need(isinstance(value, str | list | dict))
    return len(value)


def _expected_of_two(kind: str, one: Any, other: Any) -> Any:  # noqa: C901, PLR0911 - as above
    match kind:
        case "==":
            return same(one, other)
        case "!=":
            return not same(one, other)
        case "in":
            if isinstance(other, list):
                return any(same(one, item) for item in other)
            need(isinstance(other, dict) or (isinstance(one, str) and isinstance(other, str)))
            return isinstance(one, str) and one in other
        case "item":
            need(isinstance(one, list | dict) and not isinstance(key := other, bool))
            need(isinstance(key, int) if isinstance(one, list) else isinstance(key, str))
            try:
                return one[other]
            except LookupError:
                raise Wrong from None
        case "<" | "<=" | ">" | ">=":
            need(kind_of(one) == kind_of(other) and kind_of(one) in {"number", "str"})
            below, equal = one < other, one == other
            return {"<": below, "<=": below or equal, ">": not (below or equal), ">=": not below}[
                kind
            ]
        case "+":
            need(kind_of(one) == kind_of(other) and kind_of(one) in {"number", "str", "list"})
            return one + other
        case _:
            need(kind_of(one) == kind_of(other) == "number")
            return _expected_number(kind, one, other)


def _expected_number(kind: str, one: Any, other: Any) -> Any:
    if kind == "-":
        return one - other
    if kind == "*":
        return one * other
    need(other != 0)
    if kind == "%":
        rest = math.fmod(one, other)
        return int(rest) if isinstance(one, int) and isinstance(other, int) else rest
    whole = isinstance(one, int) and isinstance(other, int) and one % other == 0
    return one // other if whole else one / other


def outcome(wrong: type[Exception], work: Callable[[], Any]) -> str:
    """Return the value as JSON, which tells 1 from 1.0 and true, or that there is none."""
    try:
        return orjson.dumps(work()).decode()
    except wrong:
        return "a fault"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
@example(Tree("%", (Tree("neg", (Tree("value", (0.0,)),)), Tree("value", (1,)))))
@example(Tree("-", (Tree("value", (1,)), Tree("-", (Tree("value", (2,)), Tree("value", (3,)))))))
def test_an_expression_gives_what_the_oracle_says(tree: Tree) -> None:
    source = text_of(tree)

    wanted = outcome(Wrong, lambda: expected(tree, SCOPE))
    result = outcome(ExpressionFault, lambda: compile_expression(source).evaluate(SCOPE))

    assert result == wanted, source


PIECES = st.sampled_from(
    ["input", ".", "?.", "?[", "[", "]", "(", ")", "{", "}", ",", ":", "?", "??", "&&", "||", "!", "==", "<", "in",
     "+", "-", "*", "/", "%", "1", "0.5", "1e308", "'a'", '"', "'", "\\", ".map(x,", ".size()", "x", "a", "true",
     "null", "${{", "}}", "$", "date(", "matches(", "from_json(", " ", "\n", "\x00", "é", "\ud800", "__class__"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=120).map("".join)))
def test_random_text_gives_json_or_a_fault(source: str) -> None:
    found: list[Any] = []
    with suppress(ExpressionFault):
        found.append(compile_expression(source).evaluate({"input": SCOPE, "a": "[1]", "x": [1]}))
    with suppress(ExpressionFault):
        saved = source.replace("\ud800", "")  # no definition holds it: the JSON guard
        found.append(compile_template({"k": [saved]}).render({"input": SCOPE}))

    assert orjson.loads(orjson.dumps(found)) == found, source


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_data_passes_through_unchanged(value: Any) -> None:
    scope = {"x": value}

    assert compile_expression("x").evaluate(scope) == value
    assert compile_expression("from_json(to_json(x)) == x").evaluate(scope) is True
    assert compile_expression("[x, x].unique() == [x] && x in [x]").evaluate(scope) is True
    assert compile_template({"v": "${{ x }}"}).render(scope) == {"v": value}


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_data_is_never_evaluated(value: Any) -> None:
    text = f"${{{{ 7*7 }}}}{orjson.dumps(value).decode()}"

    assert compile_template("${{ x }}").render({"x": text}) == text
    assert compile_template("<${{ x }}>").render({"x": text}) == f"<{text}>"
