"""Each example workflow does what its file says, through a real worker."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.definition import parse_definition
from app.engine.registry import load_catalogue
from app.schemas.workflow import WorkflowDraft
from examples.echo_server import EchoServer
from tests.integration.engine.world import World

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


async def test_low_stock_is_logged_and_posted(world: World, echo: EchoServer) -> None:
    workflow = _save(world, echo, "low_stock")

    run = await world.start(workflow, {})

    assert run.output["body"]["body"]["text"] == "Low stock: tea (3), sugar (0)"
    line = world.logs(run.id)[0]
    assert (line.level, line.message, len(line.data)) == ("warning", "2 to order again", 2)


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
