"""A failed run that goes on from a step comes to an end, and redoes nothing but what comes after that step."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Plan
from app.engine.planning.board import Board
from app.engine.planning.decision import End
from app.engine.planning.record import ENDED_IN_FAILURE, StepState
from app.engine.planning.retrying import Anew, go_on_from, loops_around
from app.engine.planning.transitions import Succeeded, settle
from app.engine.registry import load_catalogue
from tests.simulation.definitions import definitions
from tests.simulation.fate import Calm, Fate
from tests.simulation.world import FACTS, START, World

CATALOGUE = load_catalogue()
MAX_LOOKS = 5_000
DONE = frozenset({AttemptStatus.SUCCEEDED, AttemptStatus.SKIPPED})
COMMON = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
cases = given(
    definition=definitions(),
    seed=st.integers(0, 2**64 - 1),
    choice=st.integers(0, 2**64 - 1),
)


class GoingOn:
    """A run that goes on from a record, in which every attempt succeeds from now on."""

    def __init__(self, plan: Plan, record: dict[str, StepState], anew: Anew) -> None:
        self.kept = {path: state for path, state in record.items() if path not in anew.superseded}
        attempts = {path: record[path].attempt for path in anew.superseded}
        for loop in anew.reopened:
            self.kept[loop.path] = loop
        self.started: list[StepState] = []
        self.board = Board(plan, FACTS, START, self.kept, attempts)
        self._superseded = attempts

    def play(self) -> End:
        """Let it run to its end."""
        now = START + timedelta(hours=1)
        settled: list[StepState] = []
        for _ in range(MAX_LOOKS):
            decision = self.board.look(settled, now)
            if decision.end is not None:
                return decision.end
            assert decision.started or decision.waits, "nothing would ever wake the run"
            now += timedelta(hours=1)
            self.started += decision.started
            settled = [self._succeed(state, now) for state in decision.started]
        raise AssertionError("the run does not end")

    def _succeed(self, state: StepState, now: Any) -> StepState:
        step = self.board.step(state.path)
        outcome = Succeeded({"of": state.path, "items": [1]}, step.ports[0])
        return settle(state, outcome, step.retry, now, lambda: 0.0)

    def check(self) -> None:
        """What is kept is not done again, and attempts are numbered on."""
        done = {path for path, state in self.kept.items() if state.status in DONE}
        assert not done & {state.path for state in self.started}, "something is redone"
        for state in self.started:
            assert state.attempt > self._superseded.get(state.path, 0)


def ended(definition: dict[str, Any], seed: int) -> tuple[Plan, World]:
    definition.pop("timeout_seconds", None)
    plan = parse_definition(definition, CATALOGUE)
    return plan, World(plan, Fate(seed), Calm()).play()


def retry(definition: dict[str, Any], seed: int, choice: int) -> None:
    plan, world = ended(definition, seed)
    assume(world.status is RunStatus.FAILED)
    failed = [path for path, state in world.record.items() if state.status in ENDED_IN_FAILURE]
    path = Random(choice).choice([*sorted(failed), None])

    anew = go_on_from(plan, world.record, path)
    run = GoingOn(plan, world.record, anew)
    end = run.play()

    run.check()
    if path is not None and end.status is RunStatus.SUCCEEDED:
        # A loop around it or beside it may have failed again, because of its own expressions, before its turn came.
        body = path.rpartition(".")[0]
        others = {*loops_around(path)} | {
            p for p in run.board.record if p.rpartition(".")[0] == body
        }
        statuses = {run.board.record[other].status for other in others}
        assert path in run.board.record or AttemptStatus.FAILED in statuses, "it is not tried again"


def replay(definition: dict[str, Any], seed: int, choice: int) -> None:
    plan, world = ended(definition, seed)
    path = Random(choice).choice(sorted(world.record))

    anew = go_on_from(plan, world.record, path, whole_loop=True)
    results = {path: state for path, state in world.record.items() if state.settled}
    run = GoingOn(plan, results, replace(anew, superseded=anew.superseded & results.keys()))
    run.play()

    run.check()
    assert path in anew.superseded


@cases
@settings(COMMON, max_examples=300)
def test_a_retried_run_ends_and_redoes_only_what_comes_after(
    definition: dict[str, Any], seed: int, choice: int
) -> None:
    retry(definition, seed, choice)


@cases
@settings(COMMON, max_examples=300)
def test_a_replay_from_a_step_ends_and_redoes_only_what_comes_after(
    definition: dict[str, Any], seed: int, choice: int
) -> None:
    replay(definition, seed, choice)


@pytest.mark.long
@cases
@settings(COMMON, max_examples=4_000)
def test_ten_thousand_runs_go_on(definition: dict[str, Any], seed: int, choice: int) -> None:
    retry(definition, seed, choice)
    replay(definition, seed, choice)
