"""Workers that stop while the database does not answer: what their attempts have done is not done again."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.statuses import AttemptStatus, RunStatus
from app.engine import journal
from app.engine.checkpoint import Checkpoint
from app.engine.delivery.process import WorkerProcess
from app.engine.journal import Journal, Verdict
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import PATIENCE_SECONDS, World

STEPS = [{"id": name, "type": "gated", "config": {"gate": name}} for name in "ab"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    nodes = Path(__file__).parent / "gated_nodes"
    return settings.model_copy(update={"plugins_dir": nodes, "shutdown_seconds": 0.1})


@pytest.fixture(autouse=True)
def _closed_gates() -> None:
    GATES.clear()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whatever the journal was to write, and could not, since this says that the database is away; emptied, it is back."""
    refused: list[int] = []
    flush = Journal._flush

    def refuse(self: Journal, batch: Sequence[Checkpoint]) -> Sequence[Verdict | Exception]:
        if not refused:
            return flush(self, batch)
        refused.append(len(batch))
        raise Unavailable("away")

    monkeypatch.setattr(Journal, "_flush", refuse)
    monkeypatch.setattr(journal, "FIRST_PAUSE_SECONDS", 60.0)
    return refused


@pytest.mark.parametrize("steps", [1, 2], ids=["the last step", "a step before others"])
async def test_a_step_that_ended_while_the_database_was_away_is_written_by_the_worker_that_stops(
    world: World, begin: Callable[[], WorkerProcess], away: list[int], steps: int
) -> None:
    worker = begin()
    run_id = (await world.trigger(world.workflow(*STEPS[:steps]))).run_id
    await world.until(lambda: GATES["a"].entered == 1)

    away.append(0)
    GATES["a"].opened.set()
    await world.until(lambda: len(away) > 1)
    away.clear()
    await worker.end()
    GATES["b"].opened.set()
    begin()
    run = await world.ended(run_id)

    assert run.status is RunStatus.SUCCEEDED
    assert GATES["a"].entered == 1
    assert [row.status for row in world.attempts(run_id) if row.path == "a"] == [
        AttemptStatus.SUCCEEDED
    ]


async def test_an_attempt_that_ended_beside_one_that_cannot_be_written_is_not_made_again(
    world: World, begin: Callable[[], WorkerProcess], away: list[int]
) -> None:
    worker = begin()
    beside = [{**step, "depends_on": []} for step in STEPS]
    run_id = (await world.trigger(world.workflow(*beside))).run_id
    await world.until(lambda: GATES["a"].entered == GATES["b"].entered == 1)

    away.append(0)
    GATES["a"].opened.set()
    await world.until(lambda: len(away) > 1)
    GATES["b"].opened.set()
    await _until_no_attempt_is_made()
    away.clear()
    await worker.end()
    begin()
    run = await world.ended(run_id)

    assert run.status is RunStatus.SUCCEEDED
    assert (GATES["a"].entered, GATES["b"].entered) == (1, 1)
    assert [row.status for row in world.attempts(run_id)] == [AttemptStatus.SUCCEEDED] * 2


async def _until_no_attempt_is_made() -> None:
    making = [task for task in asyncio.all_tasks() if "carry_out" in str(task.get_coro())]
    await asyncio.wait(making, timeout=PATIENCE_SECONDS)
