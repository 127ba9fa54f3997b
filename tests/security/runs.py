"""Saves workflows, starts runs of them and waits for what becomes of those, all over HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any

from app.core.statuses import FINAL_RUN_STATUSES
from tests.integration.api.conftest import Caller

PATIENCE_SECONDS = 30.0


def step(type_: str, **config: Any) -> dict[str, Any]:
    """Return a step with this config."""
    return {"id": type_, "type": type_, "config": config}


def value_of(source: str) -> dict[str, Any]:
    """Return a step whose output is what an expression says."""
    return step("transform", value="${{ " + source + " }}")


async def workflow_of(caller: Caller, *steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Save a workflow of these steps."""
    return await caller.save(definition={"steps": [*steps]}, **fields)


async def start(caller: Caller, workflow: Mapping[str, Any], value: Any = None) -> str:
    """Start a run by hand; returns its id."""
    body = {"input": {} if value is None else value}
    answer = await caller.post(f"/workflows/{workflow['id']}/runs", body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def until(caller: Caller, run_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until a run stands somewhere; returns it."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        run: dict[str, Any] = (await caller.get(f"/runs/{run_id}")).json()
        if run["status"] in statuses:
            return run
        told = (run["status"], run["error"], run["waiting_for"])
        assert asyncio.get_running_loop().time() < deadline, told
        await asyncio.sleep(0.02)


async def ended(caller: Caller, run_id: str) -> dict[str, Any]:
    """Wait for the end of a run; returns it."""
    return await until(caller, run_id, *FINAL_RUN_STATUSES)


async def run_of(caller: Caller, *steps: Mapping[str, Any], value: Any = None) -> dict[str, Any]:
    """Save a workflow of these steps, run it, and return the run at its end."""
    return await ended(caller, await start(caller, await workflow_of(caller, *steps), value))
