"""Node types that bring much, and that hold a run up until a file is there."""

import asyncio
from pathlib import Path

from app.engine.sdk import Context, Done, Node, NodeConfig

POLL_SECONDS = 0.02


class BlobConfig(NodeConfig):
    bytes: int


class GateConfig(NodeConfig):
    file: Path


class Blob(Node[BlobConfig, str]):
    """Return a text whose JSON has this many bytes."""

    type = "blob"

    async def run(self, config: BlobConfig, context: Context) -> Done:
        del context
        return Done("x" * (config.bytes - 2))


class Gate(Node[GateConfig, None]):
    """Wait until a file is there."""

    type = "gate"

    async def run(self, config: GateConfig, context: Context) -> Done:
        del context
        while not await asyncio.to_thread(config.file.exists):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(POLL_SECONDS)
        return Done(None)
