"""The graph surface: nodes and edges, cycles, and everything that is wrong with them at once."""

from typing import Any

import pytest

from app.core.errors import InvalidDefinition
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Edge, Plan
from tests.unit.language.parsing import CATALOGUE, refused


def node(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "merge", **fields}


def edge(source: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"source": source, "target": target, **fields}


def graph(nodes: list[Any], edges: list[Any], start: str = "a") -> dict[str, Any]:
    return {"nodes": nodes, "edges": edges, "start_node": start}


def parsed(nodes: list[Any], edges: list[Any]) -> Plan:
    return parse_definition(graph(nodes, edges), CATALOGUE)


def problems(nodes: list[Any], edges: list[Any], start: str = "a") -> list[tuple[str, str]]:
    return [(problem.pointer, problem.code) for problem in refused(graph(nodes, edges, start))]


def test_function_is_another_word_for_type() -> None:
    plan = parsed([{"id": "a", "function": "merge"}, node("b")], [edge("a", "b")])

    assert plan.steps["a"].type == "merge"
    assert plan.edges == (Edge("a", "*", "b"),)


def test_an_edge_to_a_node_before_leads_back() -> None:
    plan = parsed(
        [node("a"), node("b"), node("c"), node("d")],
        [edge("a", "b"), edge("b", "c"), edge("c", "b"), edge("b", "d"), edge("c", "d")],
    )

    assert plan.back == (Edge("c", "*", "b"),)
    assert plan.regions[plan.back[0]] == {"b", "c"}
    assert plan.leading_back["c"] == plan.back


def test_edges_leave_by_ports_and_conditions() -> None:
    nodes = [node("a", type="condition", config={"if": "true"}), node("b"), node("c")]

    plan = parsed(
        nodes, [edge("a", "b", port="true"), edge("a", "c", condition="steps.a.output.result")]
    )

    assert plan.edges[0].port == "true"
    assert plan.edges[1].condition is not None


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([{"source": "a"}], [("/edges/0/target", "missing_field"), ("/nodes/1", "unreachable")]),
        ([edge("a", "b"), edge("a", "x")], [("/edges/1/target", "unknown_step")]),
        ([edge("a", "b"), edge("x", "y")], [("/edges/1/source", "unknown_step"), ("/edges/1/target", "unknown_step")]),
        ([edge("a", "b", port="up")], [("/edges/0/port", "unknown_port")]),
        ([edge("a", "b", condition="1 +")], [("/edges/0/condition", "expression_syntax")]),
        ([edge("a", "b", condition="item")], [("/edges/0/condition", "unknown_name")]),
        ([edge("a", "b", port="failed", condition="steps.a.output.x")], [("/edges/0/condition", "step_may_be_missing")]),
        ([edge("a", "b"), edge("a", "b")], [("/edges/1", "duplicate_edge")]),
        ([], [("/nodes/1", "unreachable")]),
    ],
)  # fmt: skip
def test_a_wrong_edge_is_named_with_its_place(edges: Any, expected: list[tuple[str, str]]) -> None:
    assert problems([node("a"), node("b")], edges) == expected


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"type": "merge"}, [("/nodes/1/id", "missing_field"), ("/nodes/1", "unreachable")]),
        (node("1st"), [("/nodes/1/id", "invalid_value")]),
        (node("a"), [("/nodes/1/id", "duplicate_step_id")]),
        (node("b", depends_on=["a"]), [("/nodes/1/depends_on", "unknown_field")]),
        (node("b", steps=[node("c")]), [("/nodes/1/steps", "unknown_field")]),
        ({"id": "b", "function": "merg"}, [("/nodes/1/function", "unknown_node_type")]),
        (node("b", config={"mode": "${{ steps.b.output"}), [("/nodes/1/config/mode", "expression_syntax")]),
        (node("b", type="log", config={"message": "${{ steps.c.output }}"}), [("/nodes/1/config/message", "unknown_step")]),
    ],
)  # fmt: skip
def test_a_wrong_node_is_named_with_its_place(wrong: Any, expected: list[tuple[str, str]]) -> None:
    found = problems([node("a"), wrong], [edge("a", "b")] if wrong.get("id") == "b" else [])

    assert set(expected) <= set(found)


def test_a_start_node_that_is_not_there_is_refused() -> None:
    assert problems([node("a")], [], start="b") == [("/start_node", "unknown_step")]


def test_a_graph_without_a_start_node_is_refused() -> None:
    found = refused({"nodes": [node("a")]})

    assert [(problem.pointer, problem.code) for problem in found] == [
        ("/start_node", "missing_field")
    ]


def test_in_a_cycle_a_step_of_an_earlier_iteration_is_used_optionally() -> None:
    nodes = [node("a"), node("b", type="log", config={"message": "${{ steps?.c?.output ?? 0 }}"})]
    edges = [edge("a", "b"), edge("b", "c"), edge("c", "b", condition="false")]

    assert parsed([*nodes, node("c")], edges).back
    nodes[1]["config"] = {"message": "${{ steps.c.output }}"}
    with pytest.raises(InvalidDefinition, match="may not have run yet"):
        parsed([*nodes, node("c")], edges)


def test_a_node_that_loops_has_steps_of_its_own() -> None:
    body = [{"id": "say", "type": "log", "config": {"message": "${{ item }}"}}]
    each = node("each", type="for_each", config={"items": "[1, 2]"}, steps=body)

    plan = parsed([node("a"), each], [edge("a", "each")])

    loop = plan.steps["each"].loop
    assert loop is not None
    assert list(loop.body.steps) == ["say"]


def test_a_loop_without_steps_is_refused_in_a_graph_too() -> None:
    each = node("each", type="for_each", config={"items": "[1, 2]"})

    found = problems([node("a"), each], [edge("a", "each")])

    assert found == [("/nodes/1/steps", "missing_field")]


def test_ids_within_a_loop_are_not_those_of_nodes() -> None:
    body = [{"id": "a", "type": "log", "config": {"message": "x"}}]
    each = node("each", type="for_each", config={"items": "[1, 2]"}, steps=body)

    found = problems([node("a"), each], [edge("a", "each")])

    assert ("/nodes/1/steps/0/id", "duplicate_step_id") in found
