"""A platform with stand-ins for API and worker, run as a process of its own, and a look at what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from app.embedded.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 30.0


def processes_of(folder: Path) -> list[int]:
    """Return the living processes that were started for a DATA_DIR."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _belongs(entry, folder)]


def _belongs(entry: Path, folder: Path) -> bool:
    try:
        place = (entry / "cwd").readlink()
        words = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes()
    except OSError:
        return False
    return str(place).startswith(str(folder)) or os.fsencode(folder) in words


class Platform:
    """One `up` with stand-ins, on a DATA_DIR and a port of its own."""

    def __init__(self, folder: Path, worker: str = "worker", **settings: str) -> None:
        self.folder = folder
        port = str(free_port())
        self.output = folder.with_name(f"{folder.name}-{port}.out")
        environment = dict(os.environ) | {  # noqa: TID251 - of a child
            "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), "PORT": port, **settings,
        }  # fmt: skip
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("driver.py")), worker],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def until_ready(self) -> "Platform":
        """Wait for the line that says so, and for the worker, which starts by the way."""
        self.until_said("Ready in")
        assert wait_until(
            lambda: "worker" in self.pids() or "stubborn" in self.pids(), PATIENCE_SECONDS
        )
        return self

    def until_said(self, words: str) -> None:
        """Wait for some words."""
        heard = wait_until(
            lambda: words in self.said() or self.process.poll() is not None, PATIENCE_SECONDS
        )
        assert heard, self.said()
        assert words in self.said(), self.said()

    def said(self) -> str:
        """Return what it printed."""
        return self.output.read_text()

    def events(self) -> list[list[str]]:
        """Return what the stand-ins noted: event, process id, time."""
        file = self.folder / "events"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def pids(self) -> dict[str, int]:
        """Return the process id of each stand-in that was started last."""
        return {
            event.removesuffix("-started"): int(pid)
            for event, pid, _ in self.events()
            if event.endswith("-started")
        }

    def url(self, name: str) -> str:
        """Return the address of an embedded server."""
        return str(json.loads((self.folder / "lock").read_text())[name])

    def end(self, *signals: signal.Signals) -> int:
        """Send signals and wait for the end; return the exit code."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def start_platform(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Start platforms; whatever of them is left at the end is killed."""
    started: list[Platform] = []

    def start(name: str = "data", worker: str = "worker", **settings: str) -> Platform:
        started.append(Platform(tmp_path / name, worker, **settings))
        return started[-1]

    yield start
    for platform in started:
        platform.process.kill()
        platform.process.wait()
        for pid in processes_of(platform.folder):
            with suppress(ProcessLookupError):  # it dies with its parent, perhaps just now
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def remaining() -> Callable[[Path], Sequence[int]]:
    """Give the function that lists the living processes of a DATA_DIR."""
    return processes_of


@pytest.fixture
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m app.cli`, with settings from keywords."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT,
            env=dict(os.environ) | settings,  # noqa: TID251 - of a child
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    return run


@pytest.fixture
def port() -> int:
    """Give a free port."""
    return free_port()
