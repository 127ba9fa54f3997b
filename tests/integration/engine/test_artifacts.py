"""Large outputs lie outside of the rows, come back when a run is resumed, and go wrong visibly."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.engine.artifacts.address import objects_at
from app.engine.artifacts.store import (
    ArtifactMissing,
    ArtifactStore,
    ArtifactStoreUnavailable,
)
from app.engine.delivery.process import WorkerProcess
from app.models import StepAttempt
from tests.integration.engine.fake_s3 import FakeS3, fake_s3
from tests.integration.engine.world import World

MEGABYTE = 1_000_000
BLOB = {"id": "blob", "type": "blob", "config": {"bytes": MEGABYTE}}
MEASURE = {
    "id": "measure",
    "type": "transform",
    "config": {"value": "${{ size(steps.blob.output) }}"},
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    nodes = Path(__file__).parent / "large_nodes"
    return settings.model_copy(update={"plugins_dir": nodes, "max_output_bytes": 2 * MEGABYTE})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    with fake_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        yield server


@pytest.fixture
async def in_s3(world: World, s3: FakeS3) -> AsyncIterator[FakeS3]:
    """A worker whose artifacts lie in S3."""
    world.settings = world.settings.model_copy(update={"artifacts_url": "s3://bucket/prefix"})
    process = WorkerProcess(world.settings)
    process.begin()
    yield s3
    await process.end()


def _gate(tmp_path: Path) -> dict[str, Any]:
    return {"id": "gate", "type": "gate", "config": {"file": str(tmp_path / "open")}}


def _open_gate(tmp_path: Path) -> None:
    (tmp_path / "open").touch()


def _move(folder: Path, target: Path) -> None:
    folder.rename(target)


def _stand_in_the_way(folder: Path) -> None:
    folder.write_text("in the way")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _output_sizes(world: World) -> list[int]:
    """Return the sizes of all outputs that lie in rows."""
    size = "SELECT coalesce(length(CAST(output AS text)), 0) FROM"
    with world.engine.connect() as connection:
        rows = connection.execute(text(f"{size} steps UNION ALL {size} runs"))
        return list(rows.scalars())


def _step(world: World, run_id: str, path: str) -> StepAttempt:
    return [attempt for attempt in world.attempts(run_id) if attempt.path == path][-1]


async def _held_up(world: World, workflow: str) -> str:
    """Start a run; returns its id once it stands at the gate."""
    run_id = (await world.trigger(workflow)).run_id
    await world.until(lambda: any(a.path == "gate" for a in world.attempts(run_id)))
    return run_id


def _kill(world: World) -> None:
    """Have the worker taken for dead; it drops its runs, and takes them again under another name."""
    with world.engine.begin() as connection:
        connection.execute(text("DELETE FROM workers"))


@pytest.mark.usefixtures("worker")
async def test_a_large_output_passes_from_step_to_step_and_stays_out_of_the_rows(
    world: World, folder: Path
) -> None:
    workflow = world.workflow(BLOB, MEASURE, {**BLOB, "id": "last"})

    run = await world.start(workflow)

    blob = _step(world, run.id, "blob")
    assert _step(world, run.id, "measure").output == MEGABYTE - 2
    assert (blob.output, blob.output_bytes) == (None, MEGABYTE)
    assert (run.output, run.output_bytes) == (None, MEGABYTE)
    assert run.output_artifact == blob.output_artifact
    assert len(_files(folder)) == 1
    assert max(_output_sizes(world)) < 100


@pytest.mark.usefixtures("worker")
async def test_an_output_up_to_the_limit_stays_in_its_row(world: World, folder: Path) -> None:
    workflow = world.workflow({"id": "blob", "type": "blob", "config": {"bytes": 256 * 1024}})

    run = await world.start(workflow)

    assert len(run.output) == 256 * 1024 - 2
    assert (run.output_artifact, run.output_bytes) == (None, None)
    assert _files(folder) == []


@pytest.mark.usefixtures("worker")
async def test_a_large_output_is_there_again_when_a_dead_workers_run_is_resumed(
    world: World, tmp_path: Path
) -> None:
    run_id = await _held_up(world, world.workflow(BLOB, _gate(tmp_path), MEASURE))

    _kill(world)
    await world.until(lambda: world.run(run_id).epoch == 2)
    _open_gate(tmp_path)
    run = await world.ended(run_id)

    told = [(a.path, a.attempt, a.status) for a in world.attempts(run_id)]
    assert told == [
        ("blob", 1, AttemptStatus.SUCCEEDED),
        ("gate", 1, AttemptStatus.LOST),
        ("gate", 2, AttemptStatus.SUCCEEDED),
        ("measure", 1, AttemptStatus.SUCCEEDED),
    ]
    assert run.output == MEGABYTE - 2


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda file: file.unlink(), "artifact_missing"),
        (lambda file: file.write_bytes(b'"' + b"y" * (MEGABYTE - 2) + b'"'), "artifact_damaged"),
        (lambda file: file.write_bytes(b""), "artifact_damaged"),
    ],
    ids=["missing", "tampered with", "emptied"],
)
@pytest.mark.usefixtures("worker")
async def test_a_run_whose_artifact_is_gone_fails_with_the_reason(
    world: World, tmp_path: Path, folder: Path, harm: Callable[[Path], object], code: str
) -> None:
    run_id = await _held_up(world, world.workflow(BLOB, _gate(tmp_path), MEASURE))

    harm(_files(folder)[0])
    _kill(world)
    run = await world.ended(run_id)

    sha256 = _step(world, run_id, "blob").output_artifact
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, code)
    assert sha256 is not None
    assert sha256 in run.error["message"]
    assert _step(world, run_id, "gate").status is AttemptStatus.CANCELLED


@pytest.mark.usefixtures("worker")
async def test_a_run_whose_store_is_away_waits_for_it(
    world: World, tmp_path: Path, folder: Path
) -> None:
    run_id = await _held_up(world, world.workflow(BLOB, _gate(tmp_path), MEASURE))

    _move(folder, tmp_path / "unmounted")
    _kill(world)
    await world.until(lambda: world.run(run_id).epoch == 2)
    await world.until_status(run_id, RunStatus.QUEUED)
    _move(tmp_path / "unmounted", folder)
    _open_gate(tmp_path)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET wake_at = created_at"))
    run = await world.ended(run_id)

    assert (run.status, run.output) == (RunStatus.SUCCEEDED, MEGABYTE - 2)


@pytest.mark.usefixtures("worker")
async def test_an_attempt_whose_output_cannot_be_stored_fails_and_is_tried_again(
    world: World, folder: Path
) -> None:
    _stand_in_the_way(folder)
    retry = {"max_attempts": 2, "initial_delay_seconds": 0.05}

    run = await world.start(world.workflow({**BLOB, "retry": retry}))

    assert run.error["code"] == "artifact_store_unavailable"
    assert [a.status for a in world.attempts(run.id)] == [AttemptStatus.FAILED] * 2


@pytest.mark.usefixtures("worker")
async def test_the_outputs_of_loops_and_of_several_last_steps_are_stored_too(
    world: World, folder: Path
) -> None:
    loop = {
        "id": "loop",
        "type": "for_each",
        "depends_on": [],
        "config": {"items": "[1, 2, 3, 4]"},
        "steps": [{"id": "part", "type": "blob", "config": {"bytes": 100_000}}],
    }
    other = {"id": "other", "type": "blob", "depends_on": [], "config": {"bytes": 1000}}

    run = await world.start(world.workflow(loop, other))

    assert run.status is RunStatus.SUCCEEDED
    assert _step(world, run.id, "loop").output_bytes == 4 * 100_000 + len("[,,,]")
    stored = {len(orjson.loads(file.read_bytes())) for file in _files(folder)}
    assert stored == {4, 2}
    assert max(_output_sizes(world)) < 100_010


@pytest.mark.parametrize("away", [False, True], ids=["too large", "store away"])
@pytest.mark.usefixtures("worker")
async def test_a_loop_whose_output_cannot_be_kept_fails_and_nothing_is_left_running(
    world: World, tmp_path: Path, folder: Path, away: bool
) -> None:
    parts = 2 if away else 9
    loop = {
        "id": "loop",
        "type": "for_each",
        "depends_on": [],
        "config": {"items": str(list(range(parts)))},
        "steps": [{"id": "part", "type": "blob", "config": {"bytes": 250_000}}],
    }
    if away:
        _stand_in_the_way(folder)

    run = await world.start(world.workflow(loop, {**_gate(tmp_path), "depends_on": []}))

    code = "artifact_store_unavailable" if away else "output_too_large"
    assert (run.status, run.error["code"], run.error["step"]) == (RunStatus.FAILED, code, "loop")
    assert _step(world, run.id, "loop").status is AttemptStatus.FAILED
    assert _step(world, run.id, "gate").status is AttemptStatus.CANCELLED


async def test_large_outputs_go_through_s3_and_back(
    world: World, in_s3: FakeS3, tmp_path: Path
) -> None:
    run_id = await _held_up(world, world.workflow(BLOB, _gate(tmp_path), MEASURE))

    _kill(world)
    await world.until(lambda: world.run(run_id).epoch == 2)
    _open_gate(tmp_path)
    run = await world.ended(run_id)

    sha256 = _step(world, run_id, "blob").output_artifact or ""
    assert run.output == MEGABYTE - 2
    assert list(in_s3.objects) == [f"/bucket/prefix/sha256/{sha256[:2]}/{sha256[2:]}"]


def test_s3_is_written_once_and_its_troubles_are_told_apart(s3: FakeS3) -> None:
    store = ArtifactStore(objects_at("s3://bucket"))

    artifact = store.put(b"x" * MEGABYTE)
    assert store.put(b"x" * MEGABYTE) == artifact
    assert store.read(artifact) == b"x" * MEGABYTE
    assert s3.writes == 1
    s3.objects.clear()
    with pytest.raises(ArtifactMissing):
        store.read(artifact)
    s3.broken = True
    with pytest.raises(ArtifactStoreUnavailable):
        store.read(artifact)


def test_the_migration_goes_down_and_up_again_with_rows_in_place(database_url: str) -> None:
    engine = make_engine(database_url)
    row = {"run": "0190163d-8694-739b-aea5-966c26f8ad90"}
    insert = "INSERT INTO steps (run_id, path, attempt, seq, type, status, output) VALUES (:run, 'a', 1, 0, 'log', 'succeeded', '7')"
    with engine.begin() as connection:
        connection.execute(text(insert), row)

    downgrade(engine, "0001")
    with engine.connect() as connection:
        columns = connection.execute(text("SELECT * FROM steps")).keys()
        assert not {"output_artifact", "output_bytes"} & set(columns)
    upgrade(database_url)

    with engine.connect() as connection:
        found = connection.execute(text("SELECT path, output_artifact, output_bytes FROM steps"))
        assert found.fetchall() == [("a", None, None)]
    engine.dispose()
