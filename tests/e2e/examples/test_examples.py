"""Each example workflow does what its file says, through a real worker."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.errors import InvalidInput
from app.core.statuses import ApprovalStatus, AttemptStatus, RunStatus
from app.engine.approvals.deciding import Wish, load, take
from app.engine.approvals.rules import Person
from app.engine.delivery.dispatch import Dispatcher, connect_redis
from app.engine.language.definition import parse_definition
from app.engine.registry import load_catalogue
from app.models import Evidence
from app.schemas.workflow import WorkflowDraft
from examples.echo_server import EchoServer
from tests.integration.engine.world import World

MANAGER = Person("manager@example.com")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ORDER = {
    "order_id": "A-1001",
    "customer_id": "c-42",
    "lines": [
        {"sku": "tea", "quantity": 2, "price": 4.9},
        {"sku": "mug", "quantity": 1, "price": 12},
    ],
}

pytestmark = pytest.mark.usefixtures("worker")


def _save(world: World, echo: EchoServer, name: str) -> str:
    """Save an example whose service listens where the test's does; returns the workflow's id."""
    text = (EXAMPLES / f"{name}.json").read_text()
    place = f"http://127.0.0.1:{echo.server_port}"
    definition = json.loads(text.replace("http://127.0.0.1:9000", place))["definition"]
    return world.workflow(*definition.pop("steps"), **definition)


def _sale(amount: int) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "type": "checkout.session.completed",
        "data": {"object": {"amount_total": amount, "currency": "eur"}},
    }


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_a_file_is_a_workflow_that_can_be_saved(path: Path) -> None:
    workflow = WorkflowDraft.model_validate_json(path.read_bytes())

    plan = parse_definition(workflow.definition, load_catalogue())

    assert len(plan.steps) >= 3


async def test_a_large_sale_is_announced(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "stripe_to_discord")
    event = _sale(4250)
    event["data"]["object"]["customer_details"] = {"name": "Ada"}

    runs = [await world.start(workflow, value) for value in (event, _sale(1000))]

    assert [run.output["body"]["body"]["content"] for run in runs] == [
        "New sale: 42.5 EUR from Ada",
        "New sale: 10 EUR from somebody",
    ]


async def test_a_small_sale_is_not_announced(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "stripe_to_discord")

    run = await world.start(workflow, _sale(500))

    assert run.status is RunStatus.SUCCEEDED
    assert world.attempts(run.id)[-1].status is AttemptStatus.SKIPPED
    assert echo.counts()["requests"] == 0


async def test_an_order_reaches_a_warehouse_that_fails_twice(
    world: World, echo: EchoServer
) -> None:
    workflow = _save(world, echo, "order_enrichment")

    run = await world.start(workflow, ORDER)

    assert run.status is RunStatus.SUCCEEDED
    assert [a.status for a in world.attempts(run.id) if a.path == "warehouse"] == [
        AttemptStatus.FAILED,
        AttemptStatus.FAILED,
        AttemptStatus.SUCCEEDED,
    ]
    assert echo.counts()["by_key"][f"{run.id}:warehouse"] == 3
    received = run.output["body"]["body"]
    assert (received["customer"], received["express"], received["total"]) == (
        "Ada Lovelace",
        True,
        21.8,
    )


async def test_an_order_without_a_customer_is_refused(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "order_enrichment")

    with pytest.raises(InvalidInput) as refusal:
        await world.trigger(workflow, {"order_id": "A-1001", "lines": ORDER["lines"]})

    assert "customer_id" in refusal.value.problems[0].detail


async def _decide(world: World, run_id: str, wish: Wish) -> None:
    """Decide as the manager, once the run asks."""
    await world.until_status(run_id, RunStatus.WAITING)
    with world.engine.begin() as connection:
        asked = load(connection, world.run(run_id).waiting_for[0]["approval_id"])
        assert asked is not None
        run_ids = take(connection, asked, MANAGER, wish, SystemClock().now())
    assert world.settings.redis_url is not None
    with connect_redis(world.settings.redis_url) as redis:
        Dispatcher(redis).dispatch(run_ids)


async def test_a_large_order_is_shipped_once_the_manager_approves(
    world: World, echo: EchoServer
) -> None:
    order = {"order_id": "A-1002", "total": 4200}
    run_id = (await world.trigger(_save(world, echo, "order_approval"), order)).run_id

    await _decide(world, run_id, Wish(ApprovalStatus.APPROVED, "Within budget"))

    run = await world.ended(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert run.output["ship"]["body"]["body"]["approvals"][0]["by"] == MANAGER.email


async def test_a_large_order_is_held_back_once_the_manager_rejects(
    world: World, echo: EchoServer
) -> None:
    order = {"order_id": "A-1002", "total": 4200}
    run_id = (await world.trigger(_save(world, echo, "order_approval"), order)).run_id

    await _decide(world, run_id, Wish(ApprovalStatus.REJECTED, "Too dear"))

    run = await world.ended(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert world.logs(run_id)[0].data[0]["comment"] == "Too dear"
    assert echo.counts()["requests"] == 0


async def test_a_small_order_is_shipped_at_once(world: World, echo: EchoServer) -> None:
    run = await world.start(
        _save(world, echo, "order_approval"), {"order_id": "A-1003", "total": 20}
    )

    assert run.status is RunStatus.SUCCEEDED
    assert echo.counts()["by_path"] == {"/shipments": 1}


async def test_low_stock_is_logged_and_posted(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "low_stock")

    run = await world.start(workflow, {})

    assert run.output["body"]["body"]["text"] == "Low stock: tea (3), sugar (0)"
    line = world.logs(run.id)[0]
    assert (line.level, line.message, len(line.data)) == ("warning", "2 to order again", 2)


async def test_an_incident_is_put_on_record(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "incident_runbook")

    run = await world.start(workflow, {"service": "checkout", "incident": "INC-7"})

    with Session(world.engine) as session:
        query = select(Evidence).where(Evidence.run_id == run.id).order_by("at")
        on_record = [(row.path, row.title) for row in session.exec(query)]
    assert run.status is RunStatus.SUCCEEDED
    assert on_record == [("probe", "GET 127.0.0.1: 503"), ("page", "POST 127.0.0.1: 200")]
    assert world.logs(run.id)[0].data["down"] is True
    assert echo.counts()["by_path"]["/pager"] == 1


async def test_an_order_that_is_paid_is_fulfilled_and_one_that_is_not_is_refunded(
    world: World, echo: EchoServer
) -> None:
    workflow = _save(world, echo, "payment_wait")
    paid = (await world.trigger(workflow, {"order_id": "A-1", "total": 10})).run_id

    unpaid = await world.start(workflow, {"order_id": "A-2", "total": 10, "pay_within_seconds": 0})
    for amount in (9, 10):
        await _pay(world, "A-1", amount)
    run = await world.ended(paid)

    assert unpaid.output["refund"]["body"]["path"] == "/refunds"
    assert run.output["fulfil"]["body"]["path"] == "/fulfilments"
    assert run.output["fulfil"]["body"]["body"]["order"] == "A-1"


async def _pay(world: World, order: str, amount: int) -> None:
    """Publish a payment as a run of another workflow would."""
    emit = {
        "type": "emit_event",
        "config": {
            "event_type": "payment.received",
            "correlation_id": order,
            "payload": {"amount": amount},
        },
    }
    await world.start(world.workflow(emit))
