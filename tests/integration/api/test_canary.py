"""A canary in the vault, through every path of the API: it is used, and no answer, log or store ever shows it."""

import asyncio
from typing import Any

import pytest

from app.api.container import Container
from app.core.config import Settings
from tests.integration.api.conftest import Caller, Sign
from tests.integration.engine.vault import Echo, echoing, slips

pytestmark = pytest.mark.usefixtures("worker")

CANARY = "canary+4c7a19/secret=value"
PATIENCE_SECONDS = 30.0
OVER = {"succeeded", "failed", "cancelled", "timed_out"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"egress_allow": ("127.0.0.0/8",)})


def _definition(echo: Echo) -> dict[str, Any]:
    """Send the canary by every way there is, fail with it once, and pass on what came back."""
    each: dict[str, Any] = {"url": echo.url, "evidence": True, "method": "POST"}
    named = {**each, "credential": "crm", "json_body": {"again": "${{ secrets.other.key }}"}}
    refused = {**each, "credential": "crm", "expected_status": [418]}
    said = "${{ to_json(steps.named.output) }}"
    return {
        "steps": [
            {"id": "named", "type": "http_request_node", "config": named},
            {"id": "refused", "type": "http_request_node", "config": refused, "on_error": "continue"},
            {"id": "gone", "type": "http_request_node", "on_error": "continue",
             "config": {"url": "http://127.0.0.1:1/?key=${{ secrets.crm }}"}},
            {"id": "log", "type": "log", "config": {"message": said, "data": "${{ steps }}"}},
            {"id": "event", "type": "emit_event", "config": {"event_type": "x", "payload": said}},
            {"id": "ask", "type": "approval", "config": {"approvers": ["cfo@example.com"], "prompt": '${{ steps.named.output.headers["x-told"] }}'}},
            {"id": "child", "type": "run_workflow", "config": {"workflow": "child", "input": "${{ steps.named.output }}"}},
        ]
    }  # fmt: skip


async def _until(caller: Caller, path: str, done: Any) -> Any:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        told = (await caller.get(path)).json()
        if done(told):
            return told
        assert asyncio.get_running_loop().time() < deadline, told
        await asyncio.sleep(0.05)


async def test_the_canary_is_used_and_never_seen(
    ada: Caller, sign_up: Sign, container: Container, capfd: pytest.CaptureFixture[str]
) -> None:
    cfo = await sign_up("cfo@example.com")
    crm = {"name": "crm", "kind": "bearer", "data": {"token": CANARY}, "allowed_hosts": ["127.0.0.1"]}  # fmt: skip
    other = {**crm, "name": "other", "kind": "generic", "data": {"key": CANARY}}
    kept = [(await ada.post("/credentials", body)).json()["id"] for body in (crm, other)]
    child = {"steps": [{"type": "transform", "config": {"value": "${{ input }}"}}]}
    await ada.save(name="child", definition=child)
    async with echoing() as echo:
        workflow = await ada.save(definition=_definition(echo))
        answer = await ada.post(f"/workflows/{workflow['id']}/runs", {"input": {}})
        run_id = answer.json()["run_id"]
        run = await _until(
            ada, f"/runs/{run_id}", lambda told: told["status"] in {*OVER, "waiting"}
        )
        assert run["status"] == "waiting", run["error"]
        (asked,) = (await cfo.get("/approvals?status=pending")).json()["items"]
        await cfo.post(f"/approvals/{asked['id']}/approve", {"comment": "fine"})
        run = await _until(ada, f"/runs/{run_id}", lambda told: told["status"] in OVER)

    assert run["status"] == "succeeded", run["error"]
    assert [CANARY.encode() in sent for sent in echo.requests] == [True] * 2
    paths = [
        "/runs", f"/runs/{run_id}", f"/runs/{run_id}/logs", f"/runs/{run_id}/evidence", f"/runs/{run_id}/evidence/bundle",
        *(f"/runs/{run_id}/steps/{step['path']}/attempts" for step in run["steps"]),
        "/events", "/approvals", f"/approvals/{asked['id']}", "/credentials", *(f"/credentials/{one}" for one in kept),
        "/workflows", f"/workflows/{workflow['id']}", f"/workflows/{workflow['id']}/versions/1",
        *(f"/runs/{child['run_id']}" for child in run.get("children", ())),
    ]  # fmt: skip
    answers = {path: await ada.get(path) for path in paths}
    assert {
        path: a.status_code for path, a in answers.items() if a.status_code not in {200, 404}
    } == {}
    assert [path for path, found in answers.items() if "4c7a19" in found.text] == []
    assert slips(container, CANARY) == []
    assert "4c7a19" not in "".join(capfd.readouterr())
