"""Graphs with cycles: what begins again, what waits until the cycle is left, what ends it."""

from typing import Any

from app.engine.planning.transitions import Succeeded
from tests.unit.planning.play import Play

AGAIN_DONE = Succeeded(1, "out")
AGAIN = {"source": "check", "target": "work", "condition": "steps.check.output.again"}


def node(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "merge", **fields}


def edge(source: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"source": source, "target": target, **fields}


def cycle(*more_edges: dict[str, Any], more_nodes: tuple[str, ...] = (), back: Any = AGAIN) -> Play:
    """Return start → work → check → end, with an edge from check back to work."""
    nodes = [node(name) for name in ("start", "work", "check", "end", *more_nodes)]
    edges = [edge("start", "work"), edge("work", "check"), back, edge("check", "end"), *more_edges]
    return Play.graph(nodes, edges)


def test_an_edge_that_leads_back_begins_its_target_anew() -> None:
    play = cycle().done("start").done("work").done("check", output={"again": True})

    assert play.starts == ["work[1]"]
    assert play.done("work[1]").starts == ["check[1]"]
    assert play.done("check[1]", output={"again": False}).starts == ["end"]
    assert play.done("end", output=9).output == 9


def test_an_edge_that_leaves_a_cycle_untaken_settles_when_the_cycle_is_left() -> None:
    leave = edge("work", "aside", condition="steps.work.output.aside")
    play = cycle(leave, more_nodes=("aside",)).done("start")

    play.done("work", output={"aside": False}).done("check", output={"again": True})
    assert play.skipped == []
    play.done("work[1]", output={"aside": False})

    assert play.done("check[1]", output={"again": False}).skipped == ["aside"]


def test_an_edge_that_leaves_a_cycle_may_be_taken_in_a_later_iteration_and_then_once() -> None:
    leave = edge("work", "aside", condition="steps.work.output.aside")
    play = cycle(leave, more_nodes=("aside",)).done("start")
    play.done("work", output={"aside": False}).done("check", output={"again": True})

    assert play.done("work[1]", output={"aside": True}).starts == ["check[1]", "aside"]
    play.done("check[1]", output={"again": True})
    assert play.done("work[2]", output={"aside": True}).starts == ["check[2]"]


def test_a_condition_of_an_edge_that_is_no_question_fails_the_run() -> None:
    play = cycle(back={**AGAIN, "condition": "steps.check.output"}).done("start").done("work")

    assert play.done("check", output=1).error["code"] == "type_mismatch"


def test_a_cycle_without_end_fails_at_the_visit_limit() -> None:
    play = Play.graph([node("a")], [edge("a", "a")])
    while play.starts:
        play.done(play.starts[0])

    assert play.error["code"] == "visit_limit"


def test_another_worker_finds_the_iteration_that_runs() -> None:
    play = cycle().done("start").done("work").done("check", output={"again": True})

    rebuilt = play.rebuilt().look()

    assert (rebuilt.last.changes, list(rebuilt.board.running)) == ((), ["work[1]"])


def test_what_still_runs_of_an_iteration_left_behind_changes_nothing() -> None:
    nodes = [node("start"), node("work"), node("slow"), node("check", join="any")]
    edges = [
        edge("start", "work"),
        edge("start", "slow"),
        edge("work", "check"),
        edge("slow", "check"),
    ]
    back = edge("check", "start", condition="steps.check.output == 1")
    play = Play.graph(nodes, [*edges, back]).done("start").done("work").done("check", output=1)

    assert play.starts == ["start[1]"]
    assert play.done("slow").starts == []
    assert play.done("start[1]").starts == ["work[1]", "slow[1]"]


def test_a_step_of_an_iteration_left_behind_that_has_not_begun_never_does() -> None:
    names = ("start", "work", "next", "last")
    nodes = [*(node(name) for name in names), node("check", join="any")]
    edges = [edge("start", "work"), edge("work", "check"), edge("last", "check")]
    edges += [edge("work", "next"), edge("next", "last")]
    back = edge("check", "start", condition="steps.check.output == 1")
    play = Play.graph(nodes, [*edges, back]).done("start").done("work")

    play.look(play.end("next", AGAIN_DONE), play.end("check", AGAIN_DONE))

    assert play.starts == ["start[1]"]
    assert "last" not in play.board.record
