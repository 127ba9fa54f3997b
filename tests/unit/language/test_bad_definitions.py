"""What can never run is refused when it is saved, in one sentence that says where and how to mend it."""

from typing import Any

import pytest

from tests.unit.language.parsing import condition, loop, refused, step

MERGE = {"type": "merge"}
CHAIN = [{"id": f"n{number}", **MERGE} for number in range(501)]
LINKS = [{"source": f"n{number}", "target": f"n{number + 1}"} for number in range(500)]


def graph(nodes: list[dict[str, Any]], *edges: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": nodes, "edges": list(edges), "start_node": nodes[0]["id"]}


def nested(levels: int) -> dict[str, Any]:
    inner = step("a")
    for level in range(levels):
        inner = loop(f"f{level}", inner)
    return inner


def forever(**config: Any) -> dict[str, Any]:
    return step("w", type="while", config={"condition": "true", **config}, steps=[step("a")])


@pytest.mark.parametrize(
    ("definition", "pointer", "sentence"),
    [
        (
            {"steps": [step("a", "c"), step("b", "a"), step("c", "b")]},
            "/steps/0/depends_on",
            "The steps wait for each other: a → c → b → a. Remove one of these dependencies.",
        ),
        (
            {"steps": [loop("f", step("a", "b"), step("b", "a"))]},
            "/steps/0/steps/0/depends_on",
            "The steps wait for each other: a → b → a. Remove one of these dependencies.",
        ),
        (
            {"steps": [step("fetch"), step("b", "fetsh")]},
            "/steps/1/depends_on/0",
            "There is no step 'fetsh' on this level. Did you mean 'fetch'?",
        ),
        (
            graph(CHAIN[:2], LINKS[0], {"source": "n1", "target": "n2"}),
            "/edges/1/target",
            "There is no node 'n2'. Did you mean 'n1'?",
        ),
        (
            graph(CHAIN[:2]),
            "/nodes/1",
            "No way leads from 'n0' to 'n1': add an edge to it, or remove it.",
        ),
        (
            {"steps": [condition("a"), step("b", "a.maybe")]},
            "/steps/1/depends_on/0",
            "The step 'a' has no port 'maybe'. It has: true, false, failed, always.",
        ),
        (
            graph(CHAIN[:2], {**LINKS[0], "port": "maybe"}),
            "/edges/0/port",
            "The node 'n0' has no port 'maybe'. It has: out, failed, always.",
        ),
        (
            {"steps": [loop("f", step("a"), max_iterations=1_001)]},
            "/steps/0/config/max_iterations",
            "`max_iterations` must be at most 1000.",
        ),
        (
            {"steps": [forever(max_iterations=1_001)]},
            "/steps/0/config/max_iterations",
            "`max_iterations` must be at most 1000.",
        ),
        (
            {"steps": [forever(max_iterations=None)]},
            "/steps/0/config/max_iterations",
            "`max_iterations` must be a whole number.",
        ),
        (
            {"steps": [MERGE] * 501},
            "/steps",
            "`steps` must have at most 500 entries, and has 501.",
        ),
        (
            {"steps": [loop("f", *[MERGE] * 250), loop("g", *[MERGE] * 249)]},
            "/steps",
            "There are 501 steps, those of loops included; at most 500 are taken.",
        ),
        (
            {"steps": [nested(10)]},
            "/steps/0" * 10 + "/steps",
            "Loops may be nested 9 deep.",
        ),
        (
            {"steps": [loop("f", step("a"), items=[1, 2])]},
            "/steps/0/config/items",
            "`items` must be an expression, written as a string.",
        ),
    ],
)  # fmt: skip
def test_a_definition_that_can_never_run_is_refused_with_one_clear_sentence(
    definition: dict[str, Any], pointer: str, sentence: str
) -> None:
    (problem,) = refused(definition)

    assert (problem.pointer, problem.detail) == (pointer, sentence)


def test_steps_in_a_ring_that_nothing_leads_to_are_each_named() -> None:
    island = {"source": "n1", "target": "n2"}, {"source": "n2", "target": "n1"}

    found = refused(graph(CHAIN[:3], *island))

    assert [problem.pointer for problem in found] == ["/nodes/1", "/nodes/2"]


def test_a_graph_of_501_nodes_is_refused_without_a_word_on_its_edges() -> None:
    (problem,) = refused(graph(CHAIN, *LINKS))

    assert problem.detail == "`nodes` must have at most 500 entries, and has 501."


@pytest.mark.parametrize("name", ["max_iterations", "concurrency", "on_item_error"])
def test_limits_of_a_loop_are_written_out(name: str) -> None:
    (problem,) = refused({"steps": [loop("f", step("a"), **{name: "${{ input.x }}"})]})

    assert problem.pointer == f"/steps/0/config/{name}"
    assert problem.detail == f"`{name}` of a loop cannot be an expression: write its value."


@pytest.mark.parametrize("limit", ["5", 5.0, True])
def test_limits_of_a_loop_are_whole_numbers(limit: object) -> None:
    for raw in (loop("f", step("a"), max_iterations=limit), forever(max_iterations=limit)):
        (problem,) = refused({"steps": [raw]})

        assert problem.detail == "`max_iterations` must be a whole number."
