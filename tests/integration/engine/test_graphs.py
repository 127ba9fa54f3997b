"""Branches, joins, loops and cycles, over a real database, Redis and worker."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from tests.integration.engine.world import World

EXAMPLE = Path(__file__).parents[3] / "examples" / "data_quality"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": EXAMPLE / "nodes"})


pytestmark = pytest.mark.usefixtures("worker")


def log(id_: str, message: str = "x", **step: Any) -> dict[str, Any]:
    return {"id": id_, "type": "log", "config": {"message": message}, **step}


def statuses(world: World, run_id: str) -> dict[str, AttemptStatus]:
    return {attempt.path: attempt.status for attempt in world.attempts(run_id)}


async def test_only_the_branch_of_the_answer_runs_and_the_join_goes_on(world: World) -> None:
    workflow = world.workflow(
        {"id": "big", "type": "condition", "config": {"if": "input.total > 1000"}},
        log("review", depends_on=["big.true"]),
        log("ship", "small", depends_on=["big.false"]),
        {
            "id": "both",
            "type": "merge",
            "config": {"mode": "object"},
            "depends_on": ["review", "ship"],
        },
    )

    run = await world.start(workflow, {"total": 5})

    assert run.output == {"ship": {"message": "small"}}
    assert statuses(world, run.id)["review"] is AttemptStatus.SKIPPED


async def test_a_switch_takes_its_named_branch(world: World) -> None:
    cases = [{"equals": "eu", "port": "europe"}, {"when": "size(value) > 5", "port": "long"}]
    workflow = world.workflow(
        {"id": "where", "type": "switch", "config": {"value": "input", "cases": cases}},
        log("europe", depends_on=["where.europe"]),
        log("long", depends_on=["where.long"]),
        log("other", depends_on=["where.default"]),
    )

    runs = [await world.start(workflow, value) for value in ("eu", "antarctica", "us")]

    assert [list(run.output) for run in runs] == [["europe"], ["long"], ["other"]]


async def test_an_error_branch_handles_the_failure(world: World) -> None:
    workflow = world.workflow(
        {"id": "call", "type": "fail", "config": {"message": "no", "code": "boom"}},
        log("mend", "${{ steps.call.error.code }}", depends_on=["call.failed"]),
    )

    run = await world.start(workflow)

    assert (run.status, run.output) == (RunStatus.SUCCEEDED, {"message": "boom"})


async def test_a_loop_keeps_the_order_of_its_items(world: World) -> None:
    body = {"id": "double", "type": "transform", "config": {"value": "${{ [index, item * 2] }}"}}
    workflow = world.workflow(
        {
            "id": "each",
            "type": "for_each",
            "config": {"items": "input", "concurrency": 3},
            "steps": [body],
        }
    )

    run = await world.start(workflow, [5, 6, 7, 8])

    assert run.output == [[0, 10], [1, 12], [2, 14], [3, 16]]
    assert "each[2].double" in statuses(world, run.id)


async def test_loops_nest_and_see_the_loops_around_them(world: World) -> None:
    inner = {
        "id": "inner",
        "type": "while",
        "config": {"condition": "index < 2"},
        "steps": [{"id": "pair", "type": "transform", "config": {"value": "${{ [item, index] }}"}}],
    }
    workflow = world.workflow(
        {"id": "outer", "type": "for_each", "config": {"items": "input"}, "steps": [inner]}
    )

    run = await world.start(workflow, ["a", "b"])

    assert run.output == [
        {"iterations": 2, "last": ["a", 1]},
        {"iterations": 2, "last": ["b", 1]},
    ]
    assert "outer[1].inner[0].pair" in statuses(world, run.id)


async def test_a_loop_without_end_fails_at_its_bound(world: World) -> None:
    workflow = world.workflow(
        {
            "id": "forever",
            "type": "while",
            "config": {"condition": "true", "max_iterations": 20},
            "steps": [log("again")],
        }
    )

    run = await world.start(workflow)

    assert (run.status, run.error["code"]) == (RunStatus.FAILED, "loop_limit")


async def test_independent_steps_run_at_the_same_time(world: World) -> None:
    calls = [
        {
            "id": f"call_{n}",
            "type": "http_request_node",
            "depends_on": [],
            "config": {"url": "http://127.0.0.1:9/"},
            "retry": {"max_attempts": 2, "initial_delay_seconds": 1},
            "on_error": "continue",
        }
        for n in range(10)
    ]
    workflow = world.workflow(*calls)

    run = await world.start(workflow)

    assert run.status is RunStatus.SUCCEEDED
    firsts = [attempt for attempt in world.attempts(run.id) if attempt.attempt == 1]
    assert len({attempt.started_at for attempt in firsts}) == 1


async def test_the_data_quality_pipeline_goes_round_until_the_table_is_clean(world: World) -> None:
    definition = json.loads((EXAMPLE / "workflow.json").read_text())["definition"]
    workflow = world.save(definition)
    rows = [{"price": 10 + n % 3} for n in range(30)] + [{"price": 5_000}, {"price": 90}]

    run = await world.start(workflow, {"rows": rows, "threshold": 0.01})

    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.output["count"] == 30
    assert {"profile", "profile[1]", "profile[2]", "finish"} <= set(statuses(world, run.id))
