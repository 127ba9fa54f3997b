"""Who follows whom: `depends_on`, ports, and what of it cannot be."""

import pytest

from app.engine.language.plan import ALWAYS, ANY_PORT, FAILED, Edge
from tests.unit.language.parsing import condition, parsed, problems, refused, step

ENDLESS = {"x": "y", "y": "x"}


def test_a_step_follows_the_one_above_unless_it_says_otherwise() -> None:
    above = {"type": "merge", "id": "a"}

    plan = parsed(above, {"type": "merge", "id": "b"}, step("c"), step("d", "a"))

    assert plan.edges == (Edge("a", ANY_PORT, "b"), Edge("a", ANY_PORT, "d"))
    assert plan.entries == ("a", "c")
    assert plan.ends == ("b", "c", "d")


def test_edges_leave_by_the_ports_that_they_name() -> None:
    plan = parsed(condition("a"), step("b", "a.true", "a.failed"), step("c", "a.always", "a"))

    assert [(edge.port, edge.target) for edge in plan.edges] == [
        ("true", "b"),
        (FAILED, "b"),
        (ALWAYS, "c"),
        (ANY_PORT, "c"),
    ]
    assert plan.sources["b"] == ("a",)


def test_the_same_edge_counts_once() -> None:
    assert len(parsed(step("a"), step("b", "a", "a")).edges) == 1


def test_ports_of_a_switch_are_those_of_its_cases() -> None:
    config = {"value": "input.x", "cases": [{"equals": 1, "port": "one"}]}
    choice = step("a", type="switch", config=config)

    assert parsed(choice, step("b", "a.one"), step("c", "a.default")).steps["a"].ports == (
        "one",
        "default",
    )
    assert problems(choice, step("b", "a.two")) == [("/steps/1/depends_on/0", "unknown_port")]


def test_steps_may_be_written_in_any_order() -> None:
    plan = parsed(step("c", "b"), step("b", "a"), step("x"), step("a"))

    assert list(plan.steps) == ["x", "a", "b", "c"]


def test_steps_that_stand_in_order_keep_it() -> None:
    assert list(parsed(step("x"), step("y", "x"), step("z")).steps) == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("depends_on", "code", "words"),
    [
        ("fetsh", "unknown_step", "Did you mean 'fetch'?"),
        ("fetch.out2", "unknown_port", "It has: out, failed, always."),
    ],
)
def test_an_edge_to_nowhere_is_refused_with_the_nearest_name(
    depends_on: str, code: str, words: str
) -> None:
    (problem,) = refused({"steps": [step("fetch"), step("b", depends_on)]})

    assert (problem.pointer, problem.code) == ("/steps/1/depends_on/0", code)
    assert words in problem.detail


def test_ports_of_a_step_whose_type_is_unknown_are_believed() -> None:
    assert problems(step("a", type="nonsense"), step("b", "a.any")) == [
        ("/steps/0/type", "unknown_node_type")
    ]


def test_ports_of_a_step_whose_config_is_broken_are_believed() -> None:
    assert problems(step("a", type="switch", config="x"), step("b", "a.any")) == [
        ("/steps/0/config", "invalid_value")
    ]


def test_steps_that_wait_for_each_other_are_refused() -> None:
    (problem,) = refused({"steps": [step("a", "c"), step("b", "a"), step("c", "b")]})

    assert problem.code == "cycle"
    assert "wait for each other" in problem.detail


def test_a_step_that_waits_for_itself_is_refused() -> None:
    assert problems(step("a", "a")) == [("/steps/0/depends_on", "cycle")]
