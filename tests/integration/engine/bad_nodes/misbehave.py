"""A node type that does whatever goes wrong in the wild."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from app.engine.sdk import Context, Fail, Node, NodeConfig


class Config(NodeConfig):
    how: str


def busy() -> None:
    while True:
        pass


def fail_with_nul() -> None:
    raise Fail("a\x00b", code="nul\x00", data={"a\x00": "\x00"})


def cycle() -> Any:
    loop: list[Any] = []
    loop.append(loop)
    return loop


RESULTS: dict[str, Callable[[], Any]] = {
    "5 MB": lambda: "x" * 5_000_000,
    "NaN": lambda: {"value": float("nan")},
    "object": object,
    "cycle": cycle,
    "huge integer": lambda: 2**70,
    "surrogate": lambda: "\ud800",
    "NUL": lambda: "a\x00b",
    "NUL in a key": lambda: {"a\x00b": 1},
    "NUL in an error": fail_with_nul,
    "bytes": lambda: b"\xff\xfe",
    "raise": lambda: 1 / 0,
    "exit": lambda: sys.exit(3),
    "block asleep": lambda: time.sleep(3600),  # noqa: TID251 - that it blocks is the point
    "block busy": busy,
}


async def ignore_cancellation() -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if threading.current_thread().name == "never":
                raise


class Misbehave(Node[Config, Any]):
    """Go wrong in one of many ways."""

    type = "misbehave"
    example = {"how": "raise"}

    async def run(self, config: Config, context: Context) -> Any:
        del context
        if config.how == "hang":
            await asyncio.sleep(3600)
        if config.how == "ignore cancellation":
            await ignore_cancellation()
        return RESULTS[config.how]()


class ThreadConfig(NodeConfig):
    how: Literal["hang", "raise"]


class MisbehaveInThread(Node[ThreadConfig, Any]):
    """Go wrong in a thread."""

    type = "misbehave_in_thread"
    example = {"how": "raise"}

    def run(self, config: ThreadConfig, context: Context) -> Any:
        del context
        if config.how == "raise":
            raise ValueError("from a thread")
        threading.Event().wait()
