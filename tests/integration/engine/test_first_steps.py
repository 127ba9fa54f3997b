"""Steps that go into the commit that claims their run."""

from pathlib import Path
from typing import Any

import pytest

from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from app.engine import first_steps
from app.engine.delivery.process import WorkerProcess
from app.engine.outputs import MAX_INLINE_BYTES
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import World

HELLO = {"id": "hello", "type": "log", "config": {"message": "Hello ${{ input.name }}"}}
ECHO = {"id": "echo", "type": "transform", "config": {"value": "${{ input }}"}}
BROKEN = {"id": "echo", "type": "transform", "config": {"value": "${{ input.name.first }}"}}
NAP = {"id": "nap", "type": "delay", "config": {"seconds": 0.2}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    folder = Path(__file__).parent / "gated_nodes"
    return settings.model_copy(update={"plugins_dir": folder})


@pytest.fixture
def no_journal(worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no run write a checkpoint after its claim."""

    async def refuse(_: Any) -> None:
        raise AssertionError("a checkpoint of its own")

    monkeypatch.setattr(worker._journal, "write", refuse)
    monkeypatch.setattr(first_steps, "BUDGET_SECONDS", 3600.0)  # however busy the machine is


@pytest.mark.usefixtures("no_journal")
async def test_a_run_of_one_pure_step_is_over_with_its_claim(world: World) -> None:
    run = await world.start(world.workflow(HELLO), {"name": "Ada"})

    (attempt,) = world.attempts(run.id)
    assert (run.status, run.output) == (RunStatus.SUCCEEDED, {"message": "Hello Ada"})
    assert (attempt.status, attempt.input["message"]) == (AttemptStatus.SUCCEEDED, "Hello Ada")
    assert [line.message for line in world.logs(run.id)] == ["Hello Ada"]
    assert attempt.started_at is not None
    assert attempt.finished_at is not None
    assert attempt.started_at <= attempt.finished_at


@pytest.mark.usefixtures("no_journal")
async def test_one_that_fails_fails_its_run_with_its_claim(world: World) -> None:
    run = await world.start(world.workflow(BROKEN), {"name": "Ada"})

    assert run.status is RunStatus.FAILED
    assert run.error["step"] == "echo"


@pytest.mark.usefixtures("worker")
async def test_one_that_waits_is_parked_and_goes_on(world: World) -> None:
    run = await world.start(world.workflow(NAP, HELLO), {"name": "Ada"})

    assert [(a.path, a.status) for a in world.attempts(run.id)] == [
        ("nap", AttemptStatus.SUCCEEDED),
        ("hello", AttemptStatus.SUCCEEDED),
    ]


@pytest.mark.usefixtures("worker")
async def test_a_large_output_is_brought_to_the_artifact_store_as_ever(world: World) -> None:
    text = "x" * (MAX_INLINE_BYTES + 1)

    run = await world.start(world.workflow(ECHO), text)

    (attempt,) = world.attempts(run.id)
    assert (attempt.status, attempt.output) == (AttemptStatus.SUCCEEDED, None)
    assert attempt.output_bytes == len(text) + 2
    assert attempt.output_artifact == run.output_artifact


@pytest.mark.usefixtures("worker")
async def test_what_others_have_written_begins_on_the_event_loop(world: World) -> None:
    GATES["a"].opened.set()
    run = await world.start(world.workflow({"id": "a", "type": "gated", "config": {"gate": "a"}}))
    GATES.clear()

    assert run.status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
async def test_beyond_its_time_a_claim_leaves_steps_to_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_steps, "BUDGET_SECONDS", 0.0)

    run = await world.start(world.workflow(HELLO), {"name": "Ada"})

    assert (run.status, len(world.attempts(run.id))) == (RunStatus.SUCCEEDED, 1)


@pytest.mark.usefixtures("worker")
async def test_a_claim_of_many_leaves_steps_to_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_steps, "FEW_RUNS", 0)
    monkeypatch.setattr(first_steps, "carry_out_at_once", None)

    run = await world.start(world.workflow(HELLO), {"name": "Ada"})

    assert (run.status, len(world.attempts(run.id))) == (RunStatus.SUCCEEDED, 1)


@pytest.mark.usefixtures("worker")
async def test_an_engine_fault_in_a_first_step_leaves_it_to_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(first_steps, "carry_out_at_once", break_down)

    run = await world.start(world.workflow(HELLO), {"name": "Ada"})

    assert run.status is RunStatus.SUCCEEDED
