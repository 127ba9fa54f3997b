"""What workers put on record: plug-ins at their start, time-outs of approvals, and where the log ends."""

import hashlib
from pathlib import Path

import pytest
from sqlmodel import Session, select

from app.core.config import Settings
from app.core.statuses import ActorKind
from app.engine.audit.anchors import anchor_file
from app.engine.audit.appending import audit_key, keep_audit
from app.engine.audit.verifying import verify
from app.models import AuditEntry
from tests.integration.engine.world import KEY, World

PLUGINS = Path(__file__).parent / "evidence_nodes"
APPROVAL = {
    "type": "approval",
    "config": {"approvers": ["cfo@example.com"], "prompt": "Ship?", "timeout_seconds": 0.1, "timeout_action": "approve"},
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": PLUGINS})


def _entries(world: World, action: str) -> list[AuditEntry]:
    with Session(world.engine) as session:
        query = select(AuditEntry).where(AuditEntry.action == action)
        return list(session.exec(query.order_by("seq")).all())


async def test_a_worker_that_starts_tells_which_plugins_it_loads_and_anchors_that(
    world: World,
) -> None:
    keep_audit(world.engine, audit_key(KEY))
    anchors = anchor_file(world.settings)

    await world.until(lambda: anchors.last() is not None)

    (loaded,) = _entries(world, "plugins.loaded")
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in PLUGINS.glob("[!_]*.py")
    }
    assert {it["file"]: it["sha256"] for it in loaded.details["files"]} == files
    assert loaded.actor_kind is ActorKind.SYSTEM
    assert verify(world.engine, anchors).anchored_seq == loaded.seq


async def test_an_approval_that_nobody_decides_in_time_is_put_on_record(world: World) -> None:
    run = await world.start(world.workflow(APPROVAL))

    (expired,) = _entries(world, "approval.expired")

    assert (expired.run_id, expired.owner_id) == (run.id, world.owner_id)
    assert expired.details == {"step": "step_1", "timeout_action": "approve"}


async def test_an_ordinary_run_costs_no_entry(world: World) -> None:
    await world.start(world.workflow({"type": "transform", "config": {"value": 1}}))

    with Session(world.engine) as session:
        found = {entry.action for entry in session.exec(select(AuditEntry)).all()}
    assert found <= {"plugins.loaded"}
