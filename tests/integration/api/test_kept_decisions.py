"""A decision counts for the run that it was given for: who may replay a run from behind an approval, while a worker drives it."""

import asyncio
from typing import Any

import pytest

from tests.integration.api.conftest import CFO, Caller, Sign

pytestmark = pytest.mark.usefixtures("worker")

PATIENCE_SECONDS = 20.0
ASK = {"id": "sign_off", "type": "approval", "config": {"approvers": [CFO], "prompt": "Pay?"}}
PAY = {"id": "pay", "type": "log", "config": {"message": "paid"}}
TELL = {"id": "tell", "type": "log", "config": {"message": "told"}}
WAITS, DONE = {"waiting"}, {"succeeded"}


@pytest.fixture
async def bob(ada: Caller, sign_up: Sign) -> Caller:
    assert ada.email != "bob@example.com"
    return await sign_up("bob@example.com")


async def _run(caller: Caller, run_id: str, statuses: set[str]) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        run: dict[str, Any] = (await caller.get(f"/runs/{run_id}")).json()
        if run["status"] in statuses:
            return run
        assert asyncio.get_running_loop().time() < deadline, run
        await asyncio.sleep(0.02)


async def _approve(owner: Caller, cfo: Caller, run_id: str) -> dict[str, Any]:
    """Approve what a run, or one that it waits for, asks; returns the run once it is done."""
    await _run(owner, run_id, WAITS)
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not (asked := (await cfo.get("/approvals?status=pending")).json()["items"]):
        assert asyncio.get_running_loop().time() < deadline, "nobody was asked"
        await asyncio.sleep(0.02)
    assert (await cfo.post(f"/approvals/{asked[0]['id']}/approve")).status_code == 200
    return await _run(owner, run_id, DONE)


async def _start(caller: Caller, workflow: dict[str, Any]) -> str:
    run_id: str = (await caller.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    return run_id


async def _replay(caller: Caller, run_id: str, from_step: str) -> tuple[int, str]:
    """Replay a run; returns the status with the new run's id, or why there is none."""
    answer = await caller.post(f"/runs/{run_id}/replay", {"from_step": from_step})
    told = answer.json()
    return answer.status_code, told.get("run_id") or told["detail"]


async def test_who_may_only_run_a_workflow_replays_nothing_from_behind_its_approval(
    ada: Caller, cfo: Caller, bob: Caller
) -> None:
    workflow = await ada.save(definition={"steps": [ASK, PAY, TELL]})
    share = {"user": bob.email, "role": "runner"}
    shares = f"/workflows/{workflow['id']}/shares"
    await ada.call("PUT", shares, json=share)
    run = await _approve(ada, cfo, await _start(bob, workflow))
    before = len((await ada.get(f"/workflows/{workflow['id']}/runs")).json()["items"])

    refused = [await _replay(bob, run["id"], step) for step in ("pay", "tell")]
    await ada.call("PUT", shares, json={**share, "role": "editor"})
    by_editor = await _replay(bob, run["id"], "pay")
    asked_again, replay_id = await _replay(bob, run["id"], "sign_off")

    assert [status for status, _ in [*refused, by_editor]] == [403, 403, 403]
    assert refused[0][1].startswith("What people decided in step sign_off counts for the earlier")
    assert asked_again == 202
    assert (await _run(ada, replay_id, WAITS))["waiting_for"][0]["step"] == "sign_off"
    after = len((await ada.get(f"/workflows/{workflow['id']}/runs")).json()["items"])
    assert after == before + 1


async def test_the_owner_replays_from_behind_an_approval_and_others_not_the_replay(
    ada: Caller, cfo: Caller, bob: Caller
) -> None:
    child = await ada.save(name="Ask", definition={"steps": [ASK]})
    asks = {"id": "ask", "type": "run_workflow", "config": {"workflow": child["id"]}}
    workflow = await ada.save(definition={"steps": [asks, PAY]})
    share = {"user": bob.email, "role": "runner"}
    await ada.call("PUT", f"/workflows/{workflow['id']}/shares", json=share)
    run = await _approve(ada, cfo, await _start(ada, workflow))

    status, replay_id = await _replay(ada, run["id"], "pay")
    replay = await _run(ada, replay_id, DONE)
    refused = [await _replay(bob, run_id, "pay") for run_id in (run["id"], replay_id)]

    assert status == 202
    assert (replay["replay_of"], replay["started_by"]) == (run["id"], ada.email)
    assert replay["steps"][0]["output"] == run["steps"][0]["output"]
    assert [status for status, _ in refused] == [403, 403]
    assert "in step ask counts" in refused[1][1]


async def test_a_runner_replays_where_nobody_was_asked_before(
    ada: Caller, cfo: Caller, bob: Caller
) -> None:
    workflow = await ada.save(definition={"steps": [PAY, ASK, TELL]})
    share = {"user": bob.email, "role": "runner"}
    await ada.call("PUT", f"/workflows/{workflow['id']}/shares", json=share)
    run = await _approve(ada, cfo, await _start(bob, workflow))

    statuses = [(await _replay(bob, run["id"], step))[0] for step in ("pay", "sign_off")]

    assert statuses == [202, 202]


async def test_what_a_policy_asks_is_asked_again_in_every_replay(ada: Caller, cfo: Caller) -> None:
    definition = {"steps": [TELL, {"id": "pay", "type": "transform", "config": {"value": "paid"}}]}
    workflow = await ada.save(definition=definition)
    rules = {"needs_approval": {"node_types": ["transform"], "approvers": [CFO]}}
    assert (await ada.call("PUT", "/admin/policies", json=rules)).status_code == 200
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (run := await _run(ada, await _start(ada, workflow), WAITS | DONE))["status"] in DONE:
        assert asyncio.get_running_loop().time() < deadline, "the worker never knew the policy"
    run = await _approve(ada, cfo, run["id"])

    _, replay_id = await _replay(ada, run["id"], "pay")

    assert (await _run(ada, replay_id, WAITS))["waiting_for"][0]["step"] == "pay"
