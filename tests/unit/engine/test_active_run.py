"""What a run in a worker's hands writes down, and when."""

from datetime import UTC, datetime

import pytest

from app.core.statuses import AttemptStatus, RunStatus, WaitKind
from app.engine.active_run import FIRST_EPOCH, ActiveRun, EndedWait
from app.engine.checkpoint import Checkpoint
from app.engine.language.definition import parse_definition
from app.engine.planning.board import Board
from app.engine.planning.record import Waiting
from app.engine.planning.transitions import Succeeded, Suspended, resolution_of, settle
from app.engine.registry import load_catalogue

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CATALOGUE = load_catalogue()
FACTS = {"input": {}, "run": {"id": "r"}, "workflow": {"id": "w"}}
LOG = {"type": "log", "config": {"message": "x"}}
NEVER = Suspended(Waiting(WaitKind.EVENT), {})
CALL = {"type": "http_request_node", "config": {"url": "http://example.com"}}


def held(epoch: int, *steps: dict[str, object]) -> ActiveRun:
    plan = parse_definition({"steps": list(steps)}, CATALOGUE)
    fleeting = CATALOGUE.fleeting(lambda _: False)
    return ActiveRun("run", epoch, Board(plan, FACTS, NOW), fleeting=fleeting)


def written(checkpoint: Checkpoint) -> list[tuple[str, AttemptStatus]]:
    return [(state.path, state.status) for state in checkpoint.states]


def test_the_start_of_what_is_over_at_once_is_not_written() -> None:
    run = held(FIRST_EPOCH, {"id": "a", **LOG}, {"id": "b", **LOG})

    begun = run.advance((), (), NOW, draining=False)
    (state,) = run.started
    done = settle(state, Succeeded("x", "out"), run.board.step("a").retry, NOW, lambda: 0.0)
    second = run.advance([done], (), NOW, draining=False)

    assert written(begun) == []
    assert written(second) == [("a", AttemptStatus.SUCCEEDED)]
    assert [state.path for state in run.started] == ["b"]


def test_the_start_of_what_takes_time_is_written() -> None:
    begun = held(FIRST_EPOCH, {"id": "a", **CALL}).advance((), (), NOW, draining=False)

    assert written(begun) == [("a", AttemptStatus.RUNNING)]


def test_once_a_run_has_changed_hands_every_start_is_written() -> None:
    begun = held(FIRST_EPOCH + 1, {"id": "a", **LOG}).advance((), (), NOW, draining=False)

    assert written(begun) == [("a", AttemptStatus.RUNNING)]


def test_paused_while_nothing_runs_a_run_leaves() -> None:
    run = held(FIRST_EPOCH, {"id": "a", **LOG})
    run.advance((), (), NOW, draining=False)
    run.pause()

    left = run.advance((), (), NOW, draining=False)

    assert left.leave is not None
    assert (left.leave["status"], written(left)) == ("released", [])


@pytest.mark.parametrize(
    ("node_type", "fleeting"),
    [("transform", True), ("condition", True), ("http_request_node", False), ("for_each", False)],
)
def test_only_what_never_waits_is_fleeting(node_type: str, fleeting: bool) -> None:
    assert (node_type in CATALOGUE.fleeting(lambda _: False)) is fleeting


def test_what_is_isolated_is_not_fleeting() -> None:
    assert not CATALOGUE.fleeting(lambda _: True)


def test_the_last_step_ends_the_run_in_its_own_checkpoint() -> None:
    run = held(FIRST_EPOCH, {"id": "a", **LOG})
    run.advance((), (), NOW, draining=False)
    done = settle(
        run.started[0], Succeeded("x", "out"), run.board.step("a").retry, NOW, lambda: 0.0
    )

    last = run.advance([done], (), NOW, draining=False)

    assert last.leave is not None
    assert (last.leave["status"], last.leave["output"]) == (RunStatus.SUCCEEDED, "x")
    assert written(last) == [("a", AttemptStatus.SUCCEEDED)]


def test_a_wait_whose_end_is_told_twice_counts_once() -> None:
    steps: list[dict[str, object]] = [{"id": name, "depends_on": [], **LOG} for name in "ab"]
    run = held(FIRST_EPOCH, *steps)
    run.advance((), (), NOW, draining=False)
    waits = [
        settle(state, NEVER, run.board.step(state.path).retry, NOW, lambda: 0.0)
        for state in run.started
    ]
    run.advance(waits, (), NOW, draining=False)
    told = EndedWait("a", 1, resolution_of(Succeeded(1, "out")))

    settled = run.resolve([told, told], NOW, lambda: 0.0)
    checkpoint = run.advance(settled, (), NOW, draining=False)

    assert written(checkpoint) == [("a", AttemptStatus.SUCCEEDED)]
    assert checkpoint.leave is not None
    assert checkpoint.leave["status"] is RunStatus.WAITING
