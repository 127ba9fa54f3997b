"""Every move that a run's status makes in the database is in the table of legal moves."""

from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.statuses import RUN_MOVES, RunStatus
from tests.integration.engine.world import World

RECORD_MOVES = """
CREATE TABLE moves (before text, after text);
CREATE FUNCTION record_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO moves VALUES (OLD.status, NEW.status); RETURN NEW; END $$;
CREATE TRIGGER moves AFTER UPDATE OF status ON runs FOR EACH ROW
WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION record_move();
"""


@pytest.fixture(params=["postgres"])
def database_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": Path(__file__).parent / "bad_nodes"})


@pytest.mark.usefixtures("worker")
async def test_runs_make_legal_moves_only(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text(RECORD_MOVES))
    good = {"type": "log", "config": {"message": "x"}}
    bad = {"type": "misbehave", "config": {"how": "raise"}}
    retry = {"max_attempts": 2, "initial_delay_seconds": 0.01}

    await world.start(world.workflow(good, good))
    await world.start(world.workflow({**bad, "retry": retry}))
    await world.start(
        world.workflow(
            {**bad, "retry": {**retry, "initial_delay_seconds": 60}}, timeout_seconds=0.1
        )
    )
    await world.start(world.workflow({"type": "no_such_node"}))

    with world.engine.connect() as connection:
        moves = {
            (RunStatus(a), RunStatus(b)) for a, b in connection.execute(text("SELECT * FROM moves"))
        }
    assert moves <= {(before, after) for before, afters in RUN_MOVES.items() for after in afters}
    assert (RunStatus.WAITING, RunStatus.QUEUED) in moves
    assert (RunStatus.RUNNING, RunStatus.TIMED_OUT) in moves
