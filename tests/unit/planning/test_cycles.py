"""Graphs with cycles: what begins again, what waits until the cycle is left, what ends it."""

from datetime import timedelta
from typing import Any

from app.engine.planning.transitions import Failed, Succeeded
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


def agent() -> Play:
    """Return an agent with two tools, each of which leads back to it, and an end that a tool's failure leads to as well."""
    cases = [{"equals": 1, "port": "a"}, {"equals": 2, "port": "b"}]
    router = {"id": "agent", "type": "switch", "config": {"value": "1", "cases": cases}}
    edges = [edge("agent", "a", port="a"), edge("agent", "b", port="b")]
    edges += [edge("agent", "end", port="default"), edge("a", "end", port="failed")]
    back = [edge("a", "agent"), edge("b", "agent")]
    return Play.graph([router, node("a"), node("b"), node("end")], [*edges, *back])


def race() -> Play:
    """Return start → work and slow, of which the first leads on to check, which may lead back to start."""
    nodes = [node("start"), node("work"), node("slow"), node("check", join="any")]
    ways = (("start", "work"), ("start", "slow"), ("work", "check"), ("slow", "check"))
    back = edge("check", "start", condition="steps.check.output == 1")
    return Play.graph(nodes, [*(edge(*way) for way in ways), back]).done("start")


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
    play = race().done("work").done("check", output=1)

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


def test_of_several_ways_back_to_a_step_none_need_be_taken() -> None:
    play = agent().done("agent", port="default")

    assert (play.skipped, play.starts) == (["a", "b"], ["end"])
    assert play.done("end", output=9).output == 9


def test_each_way_back_to_a_step_begins_all_of_them_anew() -> None:
    play = agent().done("agent", port="a").done("a").done("agent[1]", port="b")

    assert play.starts == ["b[1]"]
    assert play.done("b[1]").done("agent[2]", port="a").starts == ["a[2]"]


def test_ways_back_to_several_steps_are_left_together() -> None:
    nodes = [node(name) for name in ("first", "second", "a", "b", "end")]
    ways = (("first", "second"), ("second", "a"), ("second", "b"), ("a", "end"))
    edges = [edge(*way, condition="steps.second.output") for way in ways[1:3]]
    back = [edge("a", "second"), edge("b", "first")]
    end = [edge("a", "end", port="always"), edge("second", "end")]
    play = Play.graph(nodes, [edge(*ways[0]), *edges, *back, *end]).done("first")

    play.done("second", output=False)

    assert (play.skipped, play.starts) == (["a", "b"], ["end"])


def test_another_worker_does_not_mind_the_failure_of_an_iteration_left_behind() -> None:
    play = race().done("work").done("check", output=1).failed("slow")

    rebuilt = play.rebuilt().look()

    assert rebuilt.done("start[1]").starts == ["work[1]", "slow[1]"]


def test_of_what_ends_between_two_looks_the_first_counts_first() -> None:
    play = race().done("work")
    check = play.end("check", Succeeded(1, "out"))
    play.now += timedelta(seconds=1)

    play.look(play.end("slow", Failed("boom", "It broke.", again=False)), check)

    assert (play.last.end, play.starts) == (None, ["start[1]"])


def test_the_end_of_an_agent_is_the_output_of_its_run() -> None:
    play = agent().done("agent", port="a").done("a", output="used").done("agent[1]", port="default")

    play.done(*play.starts, output="answer")

    assert play.output == "answer"


def test_a_loop_within_a_cycle_begins_anew_with_it() -> None:
    body = [{"id": "say", "type": "log", "config": {"message": "x"}}]
    each = {"id": "each", "type": "for_each", "config": {"items": "[1, 2]"}, "steps": body}
    edges = [edge("each", "check"), edge("check", "each", condition="steps.check.output.again")]
    play = Play.graph([each, node("check")], edges)

    first = play.starts
    play.done("each[0].say", output=1).done("each[1].say", output=2)
    play.done("check", output={"again": True})
    second = play.starts
    play.done("each[1][0].say", output=3).done("each[1][1].say", output=4)
    play.done("check[1]", output={"again": False})

    assert first == ["each[0].say"]
    assert second == ["each[1][0].say"]
    assert play.board.record["each[1]"].output == [3, 4]
