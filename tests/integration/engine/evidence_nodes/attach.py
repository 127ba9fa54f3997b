"""Node types that put something on record."""

import asyncio
from typing import Any

from app.engine.sdk import Context, Done, Fail, Node, NodeConfig


class Config(NodeConfig):
    content: Any = None
    bytes: int = 0
    times: int = 1
    fail: bool = False


def attach(config: Config, context: Context) -> Done:
    content = {"text": "x" * config.bytes} if config.bytes else config.content
    for number in range(config.times):
        context.attach_evidence("check", content, title=f"Check {number}")
    if config.fail:
        raise Fail("No.")
    return Done(None)


class Attach(Node[Config, None]):
    """Attach evidence."""

    type = "attach"

    async def run(self, config: Config, context: Context) -> Done:
        await asyncio.sleep(0)
        return attach(config, context)


class AttachAlone(Node[Config, None]):
    """Attach evidence, in a process of its own."""

    type = "attach_alone"
    isolation = "process"

    def run(self, config: Config, context: Context) -> Done:
        return attach(config, context)
