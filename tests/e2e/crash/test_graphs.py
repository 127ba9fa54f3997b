"""Branches and loops whose workers die: what is done stays done, and the join and the list come out whole."""

from collections.abc import Callable

import pytest

from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.scale import in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
WIDTH = 5
ENDED_ITERATIONS = "SELECT count(*) FROM steps WHERE path LIKE 'each[%' AND status = 'succeeded'"


def done(platform: Platform, iterations: int) -> Callable[[], bool]:
    return lambda: platform.database.count(ENDED_ITERATIONS) >= iterations


@in_flight(10)
def test_of_parallel_branches_only_those_in_flight_are_tried_again(
    platform: Platform, sink: Sink, runs: int
) -> None:
    done = platform.call_step("done", depends_on=[])
    open_ = platform.call_step("open", "/held", depends_on=[])
    join = platform.call_step("join", depends_on=["done", "open"])
    workflow = platform.workflow(done, open_, join)
    worker = platform.worker()
    started = platform.trigger_many(workflow, runs)
    committed = "SELECT count(*) FROM steps WHERE path = 'done' AND status = 'succeeded'"
    platform.until(lambda: sink.holding == runs and platform.database.count(committed) == runs)

    worker.kill()
    sink.open()
    platform.worker()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    effects = {"done": 1, "open": 2, "join": 1}
    assert sink.effects == {f"{run}:{path}": n for run in started for path, n in effects.items()}


@pytest.mark.parametrize(
    ("iterations", "kills"), [(100, 2), pytest.param(1_000, 10, marks=pytest.mark.long)]
)
def test_a_loop_whose_workers_are_killed_does_each_iteration_once(
    platform: Platform, sink: Sink, iterations: int, kills: int
) -> None:
    call = platform.call_step("call")
    config = {"items": f"'{'x' * iterations}'.split('')", "concurrency": WIDTH}
    loop = {"id": "each", "type": "for_each", "config": config, "steps": [call]}
    run_id = platform.trigger(platform.workflow(loop))
    for kill in range(1, kills + 1):
        worker = platform.worker()
        platform.until(done(platform, kill * iterations // (kills + 1)))

        worker.kill()
    platform.worker()
    platform.until_ended()

    run = platform.http.get(f"/runs/{run_id}").json()
    assert run["status"] == "succeeded"
    assert len(run["output"]) == iterations
    assert platform.database.count(ENDED_ITERATIONS) == iterations
    assert len(sink.effects) == iterations
    assert sum(sink.effects.values()) <= iterations + kills * WIDTH
