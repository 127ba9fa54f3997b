"""Runs from trigger to end, over a real database, Redis and worker."""

import pytest

from app.core.errors import InvalidInput, NotFound
from app.core.statuses import AttemptStatus, RunStatus
from tests.integration.engine.world import World

pytestmark = pytest.mark.usefixtures("worker")


async def test_a_run_passes_data_from_step_to_step(world: World) -> None:
    workflow = world.workflow(
        {"id": "double", "type": "transform", "config": {"value": {"twice": "${{ input.n * 2 }}"}}},
        {"type": "log", "config": {"message": "got ${{ steps.double.output.twice }}"}},
    )

    run = await world.start(workflow, {"n": 21})

    assert run.status is RunStatus.SUCCEEDED
    assert run.output == {"message": "got 42"}
    assert [(a.path, a.status) for a in world.attempts(run.id)] == [
        ("double", AttemptStatus.SUCCEEDED),
        ("step_2", AttemptStatus.SUCCEEDED),
    ]
    assert [line.message for line in world.logs(run.id)] == ["got 42"]


async def test_expressions_see_the_run_and_the_workflow(world: World) -> None:
    workflow = world.workflow(
        {
            "type": "transform",
            "config": {
                "value": "${{ [run.id, run.trigger, workflow.name, string(workflow.version)] }}"
            },
        }
    )

    run = await world.start(workflow)

    assert run.output == [run.id, "webhook", "test", "1"]


async def test_text_from_data_is_never_evaluated_again(world: World) -> None:
    workflow = world.workflow({"type": "transform", "config": {"value": "Hello ${{ input.name }}"}})

    run = await world.start(workflow, {"name": "${{ 7*7 }}"})

    assert run.output == "Hello ${{ 7*7 }}"


async def test_a_filter_stops_its_branch_without_failing_the_run(world: World) -> None:
    workflow = world.workflow(
        {"id": "big", "type": "filter_node", "config": {"condition": "input.total > 100"}},
        {"id": "after", "type": "log", "config": {"message": "big order"}},
    )

    run = await world.start(workflow, {"total": 5})

    assert run.status is RunStatus.SUCCEEDED
    assert {a.path: a.status for a in world.attempts(run.id)} == {
        "big": AttemptStatus.SUCCEEDED,
        "after": AttemptStatus.SKIPPED,
    }


async def test_a_path_that_is_not_there_fails_the_step_and_names_it(world: World) -> None:
    workflow = world.workflow({"type": "log", "config": {"message": "${{ input.missing }}"}})

    run = await world.start(workflow, {"present": 1})

    assert run.status is RunStatus.FAILED
    assert run.error["code"] == "unknown_path"
    assert "missing" in run.error["message"]
    assert "present" in run.error["message"]


async def test_the_same_key_makes_one_run(world: World) -> None:
    workflow = world.workflow({"type": "log", "config": {"message": "once"}})

    first = await world.trigger(workflow, key="event-1")
    second = await world.trigger(workflow, key="event-1")

    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.run_id == first.run_id
    await world.ended(first.run_id)
    assert len(world.runs()) == 1


async def test_an_input_that_does_not_fit_the_schema_starts_nothing(world: World) -> None:
    workflow = world.workflow(
        {"type": "log", "config": {"message": "ok"}},
        inputs={"type": "object", "required": ["order_id"]},
    )

    with pytest.raises(InvalidInput) as refusal:
        await world.trigger(workflow, {"other": 1})

    assert "order_id" in refusal.value.problems[0].detail
    assert world.runs() == []


async def test_an_unknown_workflow_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.trigger(world.owner_id)


async def test_a_failed_attempt_is_tried_again_after_its_delay(world: World) -> None:
    workflow = world.workflow(
        {
            "id": "call",
            "type": "http_request_node",
            "config": {"url": "http://127.0.0.1:9/"},
            "retry": {"max_attempts": 3, "initial_delay_seconds": 0.05},
        }
    )

    run = await world.start(workflow)

    attempts = world.attempts(run.id)
    assert run.status is RunStatus.FAILED
    assert [a.attempt for a in attempts] == [1, 2, 3]
    assert {a.status for a in attempts} == {AttemptStatus.FAILED}
    assert [a.retry_at is not None for a in attempts] == [True, True, False]


async def test_a_run_ends_timed_out_when_its_time_is_up(world: World) -> None:
    workflow = world.workflow(
        {
            "type": "http_request_node",
            "config": {"url": "http://127.0.0.1:9/"},
            "retry": {"max_attempts": 5, "initial_delay_seconds": 60},
        },
        timeout_seconds=0.2,
    )

    run = await world.start(workflow)

    assert run.status is RunStatus.TIMED_OUT
    assert run.error["code"] == "run_timed_out"
