"""Node types in processes of their own that do what would bring a worker down."""

import asyncio
import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.engine.sdk import Context, Expr, Node, NodeConfig, expression_field

FOREVER = "3600"


class Config(NodeConfig):
    how: str
    file: Path | None = None


def busy() -> None:
    while True:
        pass


def swallow() -> None:
    while True:
        with contextlib.suppress(BaseException):
            threading.Event().wait()


def allocate() -> int:
    return len(bytearray(10 * 1024**3))


def allocate_elsewhere() -> int:
    memory = ctypes.CDLL(None).malloc
    memory.restype = ctypes.c_void_p
    return 0 if memory(ctypes.c_size_t(10 * 1024**3)) else os.abort()


def fork_and_return() -> str:
    return "child" if os.fork() == 0 else "parent"


def write_to_descriptors() -> str:
    os.write(1, b"noise on descriptor 1\n")
    print("noise on stdout", flush=True)  # noqa: T201 - that it prints is the point
    return sys.stdin.read()


RESULTS: dict[str, Callable[[], Any]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "10 GB": allocate,
    "10 GB outside Python": allocate_elsewhere,
    "10 GB mapped": lambda: mmap.mmap(-1, 10 * 1024**3),
    "exit 0": lambda: os._exit(0),
    "sys.exit": lambda: sys.exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "busy": busy,
    "swallow": swallow,
    "raise": lambda: 1 / 0,
    "5 MB": lambda: "x" * 5_000_000,
    "NaN": lambda: float("nan"),
    "close everything": lambda: os.closerange(3, 256),
    "fork and return": fork_and_return,
    "write": write_to_descriptors,
    "environment": lambda: {"names": sorted(os.environ), "parent": os.getppid()},  # noqa: TID251 - what it finds
    "pid": os.getpid,
    "thread": lambda: threading.Thread(target=threading.Event().wait, daemon=True).start(),
}


class MisbehaveAlone(Node[Config, Any]):
    """Go wrong in one of many ways, in a process."""

    type = "misbehave_alone"
    isolation = "process"
    memory_limit_mb = 256
    example = {"how": "raise"}

    def run(self, config: Config, context: Context) -> Any:
        context.log(f"about to {config.how}", data={"attempt": context.attempt})
        return RESULTS[config.how]()


class Leave(Node[Config, Any]):
    """Leave processes behind, then end in some way; tell their ids in a file."""

    type = "leave_processes"
    isolation = "process"
    example = {"how": "pid"}

    def run(self, config: Config, context: Context) -> Any:
        del context
        left = [
            subprocess.Popen(["sleep", FOREVER]),
            subprocess.Popen(["sleep", FOREVER], start_new_session=True),
        ]
        daemon = subprocess.run(
            f"setsid sleep {FOREVER} >/dev/null 2>&1 & echo $!",
            shell=True,
            capture_output=True,
            check=True,
        )
        pids = [os.getppid(), os.getpid(), int(daemon.stdout), *(process.pid for process in left)]
        assert config.file is not None
        config.file.write_text(" ".join(map(str, pids)))
        return RESULTS[config.how]()


class AskConfig(NodeConfig):
    condition: Expr = expression_field(local=("item",))
    items: list[int]


class AskAlone(Node[AskConfig, Any]):
    """Use everything that the context has."""

    type = "ask_alone"
    isolation = "process"
    example = {"condition": "item > 1", "items": [1]}

    async def run(self, config: AskConfig, context: Context) -> Any:
        await asyncio.sleep(0)
        context.log("asked", level="warning")
        return {
            "kept": [item for item in config.items if config.condition.evaluate(item=item)],
            "run_id": context.run_id,
            "step": context.step_path,
            "attempt": context.attempt,
            "key": context.idempotency_key,
            "now": context.now(),
            "upstream": dict(context.upstream),
        }


class FetchConfig(NodeConfig):
    url: str
    once_there_is: Path | None = None


class FetchAlone(Node[FetchConfig, Any]):
    """Call a URL."""

    type = "fetch_alone"
    isolation = "process"
    example = {"url": "https://example.com"}

    async def run(self, config: FetchConfig, context: Context) -> Any:
        if config.once_there_is is not None:
            config.once_there_is.with_suffix(".ready").touch()
            while not config.once_there_is.exists():  # noqa: ASYNC110 - it is another process that makes it
                await asyncio.sleep(0.05)
        return (await context.http.get(config.url)).status_code


class Plain(Node[NodeConfig, Any]):
    """Tell the process that it runs in; asks for none of its own."""

    type = "plain"

    def run(self, config: NodeConfig, context: Context) -> Any:
        del config, context
        return os.getpid()


class Nap(Node[NodeConfig, Any]):
    """Take a while."""

    type = "nap"
    isolation = "process"

    def run(self, config: NodeConfig, context: Context) -> Any:
        del config, context
        return threading.Event().wait(0.3)
