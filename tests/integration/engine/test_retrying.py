"""A failed run goes on from a step, and a replay starts from one: what is done is not done again."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.errors import AutomateError
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.engine.controls.control import Control
from app.engine.controls.replaying import replay_run
from app.engine.controls.retrying import retry_runs
from app.engine.intake import NewRun
from app.engine.plans import PlanCache
from app.engine.registry import load_catalogue
from app.models import Run
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import World

GATED_NODES = Path(__file__).parent / "gated_nodes"
EACH = {"id": "each", "type": "for_each", "config": {"items": "[1, 2, 3]"}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": GATED_NODES})


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    GATES.clear()
    for name in ("a", "b", "c"):
        GATES[name].opened.set()
    yield
    GATES.clear()


pytestmark = pytest.mark.usefixtures("worker")


def gated(name: str, **step: Any) -> dict[str, Any]:
    return {"id": name, "type": "gated", "config": {"gate": name}, **step}


def retry(world: World, run_id: str, path: str | None = None) -> AutomateError | None:
    plans = PlanCache(load_catalogue(world.settings.plugins_dir))
    control = Control("retry", "owner@example.com", SystemClock().now())
    with world.engine.begin() as connection:
        retried = retry_runs(connection, {run_id: path}, plans, control)
    for due in retried.due:
        world.desk._dispatch.put(due)
    return retried.refused.get(run_id)


def replay(world: World, run: Run, from_step: str | None) -> str:
    plans = PlanCache(load_catalogue(world.settings.plugins_dir))
    new = NewRun(run.owner_id, run.workflow_id, run.version_id, 1, TriggerKind.REPLAY, run.input)
    with world.engine.begin() as connection:
        made = replay_run(connection, run.id, new, from_step, plans, SystemClock().now())
    world.desk._dispatch.put(made.run_id)
    return made.run_id


def attempts(world: World, run_id: str) -> list[tuple[str, int, AttemptStatus, bool]]:
    return [(a.path, a.attempt, a.status, a.superseded) for a in world.attempts(run_id)]


async def test_a_failed_run_goes_on_from_the_failed_step(world: World) -> None:
    GATES["b"].fails = True
    failed = await world.start(world.workflow(gated("a"), gated("b"), gated("c")))

    GATES["b"].fails = False
    refused = retry(world, failed.id, "b")
    run = await world.ended(failed.id)

    assert failed.status is RunStatus.FAILED
    assert refused is None
    assert (run.status, run.error, run.control["action"]) == (RunStatus.SUCCEEDED, None, "retry")
    assert (GATES["a"].entered, GATES["b"].entered, GATES["c"].entered) == (1, 2, 1)
    assert sorted(attempts(world, run.id)) == [
        ("a", 1, AttemptStatus.SUCCEEDED, False),
        ("b", 1, AttemptStatus.FAILED, True),
        ("b", 2, AttemptStatus.SUCCEEDED, False),
        ("c", 1, AttemptStatus.SUCCEEDED, False),
    ]


async def test_a_step_can_be_retried_again_and_again(world: World) -> None:
    GATES["b"].fails = True
    run = await world.start(world.workflow(gated("a"), gated("b")))

    for _ in range(2):
        assert retry(world, run.id, "b") is None
        run = await world.ended(run.id)

    assert run.status is RunStatus.FAILED
    assert [(a.attempt, a.superseded) for a in world.attempts(run.id) if a.path == "b"] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    numbers = {a.attempt: a.changed for a in world.attempts(run.id) if a.path == "b"}
    assert numbers[1] < numbers[2] < numbers[3]


async def test_a_loop_goes_on_with_the_iteration_that_failed(world: World) -> None:
    body = [{"type": "log", "config": {"message": "${{ item }}"}}, gated("b", when="index == 1")]
    GATES["b"].fails = True
    failed = await world.start(world.workflow({**EACH, "steps": body}, gated("c")))

    GATES["b"].fails = False
    assert retry(world, failed.id, "each") is None
    run = await world.ended(failed.id)

    assert failed.error["step"] == "each"
    assert run.status is RunStatus.SUCCEEDED
    assert sorted(line.message for line in world.logs(run.id)) == ["1", "2", "3"]
    loop = [(a.attempt, a.status) for a in world.attempts(run.id) if a.path == "each"]
    assert loop == [(1, AttemptStatus.FAILED), (2, AttemptStatus.SUCCEEDED)]


async def test_a_failed_run_without_a_named_step_goes_on_from_its_failures(world: World) -> None:
    GATES["a"].fails = GATES["b"].fails = True
    steps = gated("a", depends_on=[]), gated("b", depends_on=[])
    failed = await world.start(world.workflow(*steps))

    GATES["a"].fails = GATES["b"].fails = False
    assert retry(world, failed.id) is None
    run = await world.ended(failed.id)

    assert run.status is RunStatus.SUCCEEDED
    assert (GATES["a"].entered, GATES["b"].entered) == (2, 2)


async def test_what_is_not_failed_is_not_retried(world: World) -> None:
    done = await world.start(world.workflow(gated("a")))
    GATES["b"].fails = True
    failed = await world.start(world.workflow(gated("a"), gated("b")))
    late = await world.start(world.workflow(gated("b"), timeout_seconds=0.001))
    slow = await world.start(world.workflow(gated("b"), timeout_seconds=2))

    refusals = [
        retry(world, done.id, "a"),
        retry(world, failed.id, "a"),
        retry(world, failed.id, "nothing"),
        retry(world, late.id),
    ]

    assert [refusal and refusal.code for refusal in refusals] == [
        "run_not_retryable",
        "step_not_retryable",
        "not_found",
        "run_not_retryable",
    ]
    assert "succeeded" in str(refusals[0])
    assert slow.started_at is not None
    deadline = slow.started_at + timedelta(seconds=2)
    await world.until(lambda: SystemClock().now() > deadline)
    assert "replay" in str(retry(world, slow.id, "b"))


async def test_a_replay_from_a_step_keeps_what_comes_before(world: World) -> None:
    run = await world.start(world.workflow(gated("a"), gated("b"), gated("c")), {"n": 1})

    replayed = await world.ended(replay(world, run, "b"))

    assert replayed.status is RunStatus.SUCCEEDED
    assert (replayed.replay_of, replayed.input) == (run.id, {"n": 1})
    assert (GATES["a"].entered, GATES["b"].entered, GATES["c"].entered) == (1, 2, 2)
    assert [(a.path, a.output) for a in world.attempts(replayed.id)] == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
    ]


async def test_a_replay_from_within_a_loop_keeps_the_other_iterations(world: World) -> None:
    loop = {**EACH, "steps": [gated("a"), gated("b")]}
    run = await world.start(world.workflow(loop, gated("c")))

    replayed = await world.ended(replay(world, run, "each[1].b"))

    assert replayed.output == 2
    outputs = {a.path: a.output for a in world.attempts(replayed.id)}
    assert (GATES["a"].entered, GATES["b"].entered, GATES["c"].entered) == (3, 4, 2)
    assert outputs["each"] == [1, 4, 3]


async def test_a_replay_from_the_start_does_everything_again(world: World) -> None:
    GATES["b"].fails = True
    run = await world.start(world.workflow(gated("a"), gated("b")))

    replayed = await world.ended(replay(world, run, None))

    assert replayed.status is RunStatus.FAILED
    assert (GATES["a"].entered, GATES["b"].entered) == (2, 2)
