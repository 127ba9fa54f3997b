"""Node types that only some of the processes have, and that no worker should like."""

import asyncio
import os
from typing import Any

from app.engine.sdk import Context, Node, NodeConfig


class Empty(NodeConfig):
    """Nothing to fill in."""


class Call(NodeConfig):
    """What to call."""

    url: str


async def post(config: Call, context: Context) -> int:
    headers = {"Idempotency-Key": context.idempotency_key}
    return (await context.http.post(config.url, headers=headers)).status_code


class LeaveProcess(Node[Empty, Any]):
    """End the whole process, without a word."""

    type = "leave_process"
    example = {}

    async def run(self, config: Empty, context: Context) -> Any:
        del config, context
        os._exit(0)


class CallOnce(Node[Call, int]):
    """Have an effect that must never be repeated."""

    type = "call_once"
    example = {"url": "http://127.0.0.1:9/"}
    on_lost = "fail"

    async def run(self, config: Call, context: Context) -> int:
        return await post(config, context)


class CallAndLinger(Node[Call, int]):
    """Take longer to clean up than anybody waits."""

    type = "call_and_linger"
    example = {"url": "http://127.0.0.1:9/"}

    async def run(self, config: Call, context: Context) -> int:
        try:
            return await post(config, context)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
            raise
