"""Large outputs as their owner fetches them, and nobody else."""

from pathlib import Path
from typing import Any

import pytest

from app.api.container import Container
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus
from app.db.session import transaction
from app.engine.artifacts.store import Artifact
from app.models import Run, StepAttempt
from tests.integration.api.conftest import Caller, Sign

DATA = b'"' + b"x" * 3_000_000 + b'"'


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"data_dir": tmp_path})


async def _run_with(ada: Caller, container: Container, artifact: Artifact) -> str:
    """Start a run and record, as a worker would, that its only step brought a large output."""
    workflow = await ada.save()
    run_id: str = (await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    stored: dict[str, Any] = {"output_artifact": artifact.sha256, "output_bytes": artifact.size}
    with transaction(container.engine) as session:
        session.add(
            StepAttempt(
                run_id=run_id,
                path="blob",
                attempt=1,
                seq=0,
                type="log",
                status=AttemptStatus.SUCCEEDED,
                started_at=container.clock.now(),
                **stored,
            )
        )
        run = session.get_one(Run, run_id)
        run.sqlmodel_update({"status": RunStatus.SUCCEEDED, **stored})
        session.add(run)
    return run_id


def _fetch(caller: Caller, url: str) -> Any:
    return caller.http.get(url, headers=caller.headers)


async def test_a_run_tells_where_its_large_outputs_are(ada: Caller, container: Container) -> None:
    artifact = container.artifacts.put(DATA)
    run_id = await _run_with(ada, container, artifact)

    run = (await ada.get(f"/runs/{run_id}")).json()
    attempts = (await ada.get(f"/runs/{run_id}/steps/blob/attempts")).json()["items"]

    url = f"/api/v1/runs/{run_id}/artifacts/{artifact.sha256}"
    told = {"$artifact": {"sha256": artifact.sha256, "bytes": len(DATA), "url": url}}
    assert run["output"] == run["steps"][0]["output"] == attempts[0]["output"] == told


async def test_a_large_output_is_fetched_as_json(ada: Caller, container: Container) -> None:
    run_id = await _run_with(ada, container, container.artifacts.put(DATA))
    told = (await ada.get(f"/runs/{run_id}")).json()["output"]["$artifact"]

    answer = await _fetch(ada, told["url"])

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(told["bytes"])
    assert answer.headers["etag"] == f'"{told["sha256"]}"'


async def test_another_owner_does_not_get_it_though_it_exists(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    artifact = container.artifacts.put(DATA)
    run_id = await _run_with(ada, container, artifact)

    answer = await bob.get(f"/runs/{run_id}/artifacts/{artifact.sha256}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_hash_must_belong_to_the_run(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    artifact = container.artifacts.put(DATA)
    await _run_with(ada, container, artifact)
    other = await _run_with(bob, container, container.artifacts.put(b"[]"))

    wanted = [artifact.sha256, "0" * 64, "..%2F..%2Fetc%2Fpasswd", "a" * 5000, new_id()]
    answers = [await bob.get(f"/runs/{other}/artifacts/{sha256}") for sha256 in wanted]

    assert {answer.status_code for answer in answers} == {404}


async def test_what_is_gone_from_the_store_is_told_apart(
    ada: Caller, container: Container, tmp_path: Path
) -> None:
    artifact = container.artifacts.put(DATA)
    run_id = await _run_with(ada, container, artifact)
    address = f"/runs/{run_id}/artifacts/{artifact.sha256}"

    (tmp_path / "artifacts" / artifact.key).unlink()
    gone = await ada.get(address)
    _move(tmp_path / "artifacts", tmp_path / "unmounted")
    away = await ada.get(address)

    assert (gone.status_code, gone.json()["code"]) == (404, "artifact_missing")
    assert (away.status_code, away.json()["code"]) == (503, "artifact_store_unavailable")
    assert "retry-after" in away.headers


async def test_a_damaged_output_never_arrives_whole(
    ada: Caller, container: Container, tmp_path: Path
) -> None:
    artifact = container.artifacts.put(DATA)
    run_id = await _run_with(ada, container, artifact)
    (tmp_path / "artifacts" / artifact.key).write_bytes(DATA.replace(b"x", b"y"))

    # httpx's transport asserts that the application has completed its answer; a server cuts the connection.
    with pytest.raises(AssertionError):
        await ada.get(f"/runs/{run_id}/artifacts/{artifact.sha256}")


def _move(folder: Path, target: Path) -> None:
    folder.rename(target)
