"""The planner: what is recorded, in; what happens next, out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.expressions import compile_template
from app.engine.language.plan import Edge, Plan, RetryPolicy, Step
from app.engine.planning.planner import Decision, End, Start, Wait, decide
from app.engine.planning.record import StepState

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)


def plan(*ids: str, edges: tuple[Edge, ...] | None = None, timeout: float | None = None) -> Plan:
    """Return a chain of steps, or a graph of the given edges."""
    steps = {id_: Step(id_, "log", compile_template({}), {}, RetryPolicy(), 60) for id_ in ids}
    chain = tuple(Edge(a, "out", b) for a, b in pairwise(ids))
    return Plan(steps=steps, edges=chain if edges is None else edges, timeout_seconds=timeout)


def state(path: str, status: AttemptStatus, seq: int = 0, **fields: object) -> StepState:
    base = StepState(path, "log", status, 1, seq, finished_at=NOW + timedelta(seconds=seq))
    return replace(base, **fields)  # type: ignore[arg-type]


def done(path: str, seq: int = 0, port: str | None = "out", output: object = None) -> StepState:
    return state(path, AttemptStatus.SUCCEEDED, seq, port=port, output=output)


def record(*states: StepState) -> dict[str, StepState]:
    return {each.path: each for each in states}


def test_a_run_begins_with_its_first_step() -> None:
    assert decide(plan("a", "b"), {}, NOW) == Decision(start=(Start("a", 1),))


def test_the_next_step_starts_when_the_one_before_is_done() -> None:
    assert decide(plan("a", "b"), record(done("a")), NOW) == Decision(start=(Start("b", 1),))


def test_while_a_step_runs_nothing_happens() -> None:
    running = record(state("a", AttemptStatus.RUNNING))

    assert decide(plan("a", "b"), running, NOW) == Decision()


def test_a_run_ends_with_the_output_of_its_last_step() -> None:
    states = record(done("a", 0, output=1), done("b", 1, output=2))

    assert decide(plan("a", "b"), states, NOW).end == End(RunStatus.SUCCEEDED, output=2)


def test_a_stopped_branch_skips_what_follows_and_the_run_succeeds() -> None:
    decision = decide(plan("a", "b", "c"), record(done("a", port=None, output=7)), NOW)

    assert decision.skip == ("b", "c")
    assert decision.end == End(RunStatus.SUCCEEDED, output=7)


def test_a_failed_step_fails_the_run_and_is_named() -> None:
    failed = state("a", AttemptStatus.FAILED, error={"code": "boom", "message": "no"})

    end = decide(plan("a"), record(failed), NOW).end

    assert end == End(RunStatus.FAILED, error={"code": "boom", "message": "no", "step": "a"})


def test_a_failed_attempt_that_is_to_be_repeated_parks_the_run() -> None:
    waiting = state("a", AttemptStatus.FAILED, retry_at=LATER)

    assert decide(plan("a"), record(waiting), NOW) == Decision(waits=(Wait("a", "retry", LATER),))


def test_a_repeated_attempt_starts_when_it_is_due() -> None:
    due = state("a", AttemptStatus.TIMED_OUT, retry_at=NOW)

    assert decide(plan("a"), record(due), NOW) == Decision(start=(Start("a", 2),))


def test_a_run_ends_timed_out_at_its_deadline_whatever_it_does() -> None:
    end = decide(plan("a", timeout=5), record(state("a", AttemptStatus.RUNNING)), NOW, NOW).end

    assert end is not None
    assert end.status is RunStatus.TIMED_OUT
    assert end.error is not None
    assert end.error["code"] == "run_timed_out"


def test_a_join_waits_for_every_edge_and_runs_when_one_was_taken() -> None:
    edges = (Edge("a", "out", "c"), Edge("b", "out", "c"))
    graph = plan("a", "b", "c", edges=edges)

    assert decide(graph, {}, NOW).start == (Start("a", 1), Start("b", 1))
    assert decide(graph, record(done("a"), state("b", AttemptStatus.RUNNING)), NOW) == Decision()
    assert decide(graph, record(done("a"), done("b", port=None)), NOW).start == (Start("c", 1),)
    assert decide(graph, record(done("a", port=None), done("b", port=None)), NOW).skip == ("c",)


def test_several_ends_give_an_object_of_their_outputs() -> None:
    graph = plan("a", "b", "c", edges=(Edge("a", "out", "b"), Edge("a", "out", "c")))
    states = record(done("a"), done("b", 1, output=1), done("c", 2, output=2))

    assert decide(graph, states, NOW).end == End(RunStatus.SUCCEEDED, output={"b": 1, "c": 2})


def test_nothing_new_starts_once_a_step_has_failed() -> None:
    graph = plan("a", "b", "c", edges=(Edge("b", "out", "c"),))
    states = record(state("a", AttemptStatus.FAILED), done("b"))

    decision = decide(graph, states, NOW)

    assert decision.start == ()
    assert decision.end is not None
    assert decision.end.status is RunStatus.FAILED


def test_a_run_in_which_nothing_succeeded_has_no_output() -> None:
    assert decide(plan("a"), record(state("a", AttemptStatus.SKIPPED)), NOW).end == End(
        RunStatus.SUCCEEDED, output=None
    )
