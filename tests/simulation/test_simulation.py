"""Whatever dies and whenever, a run ends as it would have ended undisturbed, and nothing that is done is done again."""

from collections.abc import Callable
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.definition import parse_definition
from app.engine.planning import board, progress
from app.engine.registry import load_catalogue
from tests.simulation.definitions import definitions
from tests.simulation.fate import Calm, Chaos, Fate
from tests.simulation.graphs import graphs
from tests.simulation.rules import halted_levels, inside
from tests.simulation.world import World

Test = Callable[..., None]
CATALOGUE = load_catalogue()
COMMON = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MAX_VISITS = 12
FLEETING = CATALOGUE.fleeting(lambda _: False)


def cases(definitions: st.SearchStrategy[dict[str, Any]], most: int) -> Callable[[Test], Test]:
    """Return what calls a test with as many definitions, each with a world that disturbs its run."""
    given_cases = given(
        definition=definitions,
        seed=st.integers(0, 2**64 - 1),
        disorder=st.integers(0, 2**64 - 1),
        parallel=st.sampled_from([2, 64]),
    )
    return lambda test: settings(COMMON, max_examples=most)(given_cases(test))


def simulate(definition: dict[str, Any], seed: int, disorder: int, parallel: int) -> None:
    plan = parse_definition(definition, CATALOGUE)
    with (
        patch.object(board, "MAX_PARALLEL_ATTEMPTS", parallel),
        patch.object(progress, "MAX_VISITS", MAX_VISITS),
    ):
        calm = World(plan, Fate(seed), Calm()).play()
        chaos, fleeting = Random(disorder), FLEETING if disorder % 2 else ()
        disturbed = World(plan, Fate(seed), Chaos(chaos, most=12), fleeting).play()

    for world in (calm, disturbed):
        assert not any(row.status is AttemptStatus.RUNNING for row in world.rows.values())
    if calm.steady and RunStatus.TIMED_OUT not in {calm.status, disturbed.status}:
        assert outcome(disturbed, calm) == outcome(calm, disturbed)


def outcome(world: World, other: World) -> object:
    """Return how a run ended, without what depends on which step was faster: how far a level came before it failed."""
    if world.status is RunStatus.FAILED:
        return world.status
    halted = halted_levels(world.plan, world.record.values())
    halted |= halted_levels(other.plan, other.record.values())
    succeeded = {
        path: state.output
        for path, state in world.record.items()
        if state.status is AttemptStatus.SUCCEEDED and not inside(path, halted)
    }
    return world.status, world.output, succeeded


@cases(definitions(), most=400)
def test_a_disturbed_run_ends_like_an_undisturbed_one(
    definition: dict[str, Any], seed: int, disorder: int, parallel: int
) -> None:
    simulate(definition, seed, disorder, parallel)


@cases(graphs(), most=600)
def test_a_disturbed_run_of_a_graph_ends_like_an_undisturbed_one(
    definition: dict[str, Any], seed: int, disorder: int, parallel: int
) -> None:
    simulate(definition, seed, disorder, parallel)


@pytest.mark.long
@cases(definitions(), most=12_000)
def test_twelve_thousand_disturbed_runs_end_like_undisturbed_ones(
    definition: dict[str, Any], seed: int, disorder: int, parallel: int
) -> None:
    simulate(definition, seed, disorder, parallel)


@pytest.mark.long
@cases(graphs(), most=12_000)
def test_twelve_thousand_disturbed_runs_of_graphs_end_like_undisturbed_ones(
    definition: dict[str, Any], seed: int, disorder: int, parallel: int
) -> None:
    simulate(definition, seed, disorder, parallel)
