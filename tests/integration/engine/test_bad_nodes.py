"""A node that goes wrong fails its own step, with a stored error, and harms no other run."""

from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from tests.integration.engine.world import World

BAD_NODES = Path(__file__).parent / "bad_nodes"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "plugins_dir": BAD_NODES,
            "lease_seconds": 20,
            "stall_seconds": 0.5,
            "max_output_bytes": 1_000_000,
        }
    )


pytestmark = pytest.mark.usefixtures("worker")


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("raise", "node_error", "ZeroDivisionError"),
        ("exit", "node_error", "SystemExit"),
        ("5 MB", "output_too_large", "5,000,002 bytes"),
        ("NaN", "invalid_output", "JSON"),
        ("object", "invalid_output", "JSON"),
        ("cycle", "invalid_output", "JSON"),
        ("huge integer", "invalid_output", "64-bit"),
        ("surrogate", "invalid_output", "JSON"),
        ("bytes", "invalid_output", "JSON"),
        ("block asleep", "node_blocked_loop", "def run"),
        ("block busy", "node_blocked_loop", "def run"),
    ],
)
async def test_a_step_that_goes_wrong_fails_with_its_reason_and_others_run_on(
    world: World, how: str, code: str, says: str
) -> None:
    bad = world.workflow({"type": "misbehave", "config": {"how": how}})
    good = world.workflow({"type": "log", "config": {"message": "fine"}})

    answers = [await world.trigger(good), await world.trigger(bad), await world.trigger(good)]

    runs = [await world.ended(answer.run_id) for answer in answers]
    assert [run.status for run in runs] == [
        RunStatus.SUCCEEDED,
        RunStatus.FAILED,
        RunStatus.SUCCEEDED,
    ]
    assert runs[1].error["code"] == code
    assert says in runs[1].error["message"]


@pytest.mark.parametrize(
    "step",
    [
        {"type": "misbehave", "config": {"how": "hang"}},
        {"type": "misbehave", "config": {"how": "ignore cancellation"}},
        {"type": "misbehave_in_thread", "config": {"how": "hang"}},
    ],
    ids=["waits for ever", "ignores cancellation", "hangs in a thread"],
)
async def test_a_step_that_hangs_is_interrupted_at_its_timeout(
    world: World, step: dict[str, object]
) -> None:
    workflow = world.workflow({**step, "timeout_seconds": 0.2})

    run = await world.start(workflow)

    assert run.error["code"] == "step_timed_out"
    assert [a.status for a in world.attempts(run.id)] == [AttemptStatus.TIMED_OUT]


async def test_what_a_thread_raises_is_stored(world: World) -> None:
    workflow = world.workflow({"type": "misbehave_in_thread", "config": {"how": "raise"}})

    run = await world.start(workflow)

    assert "ValueError: from a thread" in run.error["message"]


@pytest.mark.parametrize("how", ["NUL", "NUL in a key", "NUL in an error"])
async def test_a_nul_fails_the_step_and_not_the_engine(world: World, how: str) -> None:
    workflow = world.workflow({"type": "misbehave", "config": {"how": how}})

    run = await world.start(workflow)

    assert run.error["code"] in {"invalid_output", "node_error", "nul\ufffd"}
    assert [a.status for a in world.attempts(run.id)] == [AttemptStatus.FAILED]
