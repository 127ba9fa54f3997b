"""What steps put on record: kept with the attempt's result, once, with its hash."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.config import Settings
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.artifacts.store import Artifact
from app.engine.evidence.canonical import canonical, sha256_of
from app.engine.evidence.keeping import NewEvidence, keep
from app.models import Evidence
from tests.integration.engine.world import World
from tests.unit.egress.loopback import reply, serve

CONTENT = {"zebra": 1.0, "ant": [1e300, -0.0, 2**63 - 1, "é\n"], "password": "canary"}
KEPT = {**CONTENT, "password": "***"}

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"plugins_dir": Path(__file__).parent / "evidence_nodes", "log_level": "warning"}
    )


def _step(node_type: str = "attach", **config: Any) -> dict[str, Any]:
    return {"id": "check", "type": node_type, "config": config}


def _evidence(world: World, run_id: str) -> Sequence[Evidence]:
    with Session(world.engine) as session:
        query = select(Evidence).where(Evidence.run_id == run_id)
        return session.exec(query.order_by("at", "id")).all()


def _write_again(world: World, row: Evidence) -> None:
    """Write it once more, as a checkpoint whose commit was in doubt does."""
    again = NewEvidence(row.run_id, row.path, row.attempt, row.kind, ["changed"], row.at, id=row.id)
    with world.engine.begin() as connection:
        keep(connection, [again])


@pytest.mark.parametrize("node_type", ["attach", "attach_alone"])
async def test_evidence_is_kept_once_with_the_hash_of_what_is_kept(
    world: World, node_type: str
) -> None:
    run = await world.start(world.workflow(_step(node_type, content=CONTENT, times=2)))

    found = _evidence(world, run.id)

    assert [(row.path, row.attempt, row.kind, row.title) for row in found] == [
        ("check", 1, "check", "Check 0"),
        ("check", 1, "check", "Check 1"),
    ]
    assert found[0].content == KEPT
    assert found[0].sha256 == sha256_of(found[0].content) == sha256_of(KEPT)
    assert run.created_at < found[0].at
    _write_again(world, found[0])
    assert len(_evidence(world, run.id)) == 2


async def test_whatever_comes_back_has_the_hash_that_went_in(world: World) -> None:
    contents: list[Any] = ["", "5", "1.0", "null", [], {}, ["1.0", 1.0]]
    steps = [
        {**_step(content=content), "id": f"s{n}", "depends_on": []}
        for n, content in enumerate(contents)
    ]

    run = await world.start(world.workflow(*steps))

    found = {row.path: (row.content, row.sha256) for row in _evidence(world, run.id)}
    assert found == {f"s{n}": (content, sha256_of(content)) for n, content in enumerate(contents)}


async def test_an_attempt_that_fails_keeps_its_evidence(world: World) -> None:
    step = {
        **_step(content=["seen"], fail=True),
        "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
    }

    run = await world.start(world.workflow(step))

    assert run.status is RunStatus.FAILED
    assert [(row.attempt, row.content) for row in _evidence(world, run.id)] == [(1, ["seen"])]


async def test_a_retried_step_keeps_the_evidence_of_each_attempt(world: World) -> None:
    async with serve(reply(503, b"busy")) as server:
        step = {
            "type": "http_request_node",
            "config": {"url": server.url(), "evidence": True},
            "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
        }

        run = await world.start(world.workflow(step))

    found = _evidence(world, run.id)
    assert [(row.attempt, row.content["response"]["status"]) for row in found] == [
        (1, 503),
        (2, 503),
    ]


async def test_large_evidence_lies_in_the_artifact_store(world: World) -> None:
    run = await world.start(world.workflow(_step(bytes=300_000)))

    (row,) = _evidence(world, run.id)
    stored = canonical({"text": "x" * 300_000})

    assert (row.content, row.artifact, row.artifact_bytes) == (None, row.sha256, len(stored))
    key = Artifact(row.sha256, len(stored)).key
    assert (world.settings.data_dir / "artifacts" / key).read_bytes() == stored


async def test_what_cannot_be_put_on_record_fails_the_step(world: World) -> None:
    expected: dict[str, tuple[dict[str, Any], str]] = {
        "number": ({"content": 5}, "invalid_evidence"),
        "nothing": ({"content": None}, "invalid_evidence"),
        "large": ({"bytes": 1_100_000}, "too_many_commands"),
        "many": ({"content": [1], "times": 101}, "too_many_commands"),
    }
    steps = [
        {**_step(**config), "id": name, "depends_on": [], "on_error": "continue"}
        for name, (config, _) in expected.items()
    ]

    run = await world.start(world.workflow(*steps))

    codes = {row.path: (row.error or {}).get("code") for row in world.attempts(run.id)}
    assert codes == {name: code for name, (_, code) in expected.items()}


async def test_the_history_shows_what_a_step_was_told_without_its_credentials(world: World) -> None:
    async with serve(reply(200, b"{}", "Content-Type: application/json\r\n")) as server:
        config = {
            "url": f"{server.url()}orders?token=canary",
            "headers": {"Authorization": "Bearer canary", "X-Order": "${{ input.order }}"},
            "evidence": True,
        }
        run = await world.start(
            world.workflow({"type": "http_request_node", "config": config}), {"order": "A-1"}
        )

    (attempt,) = world.attempts(run.id)
    (row,) = _evidence(world, run.id)
    assert attempt.status is AttemptStatus.SUCCEEDED
    assert attempt.input["headers"] == {"Authorization": "***", "X-Order": "A-1"}
    assert "canary" not in str((attempt.input, row.content, row.title))
    assert row.content["request"]["url"].endswith("/orders?token=***")
