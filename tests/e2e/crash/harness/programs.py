"""The real processes, `uvicorn main:app` and `python worker.py`, each with a log of its own."""

import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from app.core.config import Settings
from app.embedded.network import answers_ok
from app.embedded.programs import Program, own_programs
from tests.e2e.crash.harness.waiting import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[4]


class Process(Program):
    """A process of the platform that can be killed, frozen and looked at."""

    def __init__(
        self, name: str, command: list[str], settings: Mapping[str, str], log: Path
    ) -> None:
        environment = {**os.environ, **settings}  # noqa: TID251 - of a child
        super().__init__(name, command, environment, log=log)
        self._path = log
        self.exit_code: int | None = None
        self.launch()

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        """Return what it has logged so far."""
        return self._path.read_text()

    def until_said(self, words: str) -> None:
        """Wait for some words in its log."""
        assert wait_until(lambda: words in self.said(), PATIENCE_SECONDS), self.said()

    def until_ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        assert wait_until(self.has_ended, seconds), self.said()
        return int(self.process.returncode)

    def kill(self) -> None:
        """Kill it as an outage would, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.until_ended()


def start_api(settings: Mapping[str, str], log: Path) -> Process:
    """Start the API with the command of `up`; it is ready once it answers."""
    processes = int(settings.get("API_WORKERS", "1"))
    programs = own_programs(
        Settings(host="127.0.0.1", port=int(settings["PORT"]), api_workers=processes)
    )
    command = [*programs.api, "--app-dir", str(ROOT)]
    return Process("api", command, settings, log)


def start_worker(settings: Mapping[str, str], log: Path) -> Process:
    """Start a worker."""
    return Process("worker", [sys.executable, str(ROOT / "worker.py")], settings, log)


def until_answering(api: Process, port: str) -> None:
    """Wait until the API serves."""
    assert wait_until(
        lambda: api.has_ended() or answers_ok("127.0.0.1", int(port), "/health/ready"),
    )
    assert not api.has_ended(), api.said()


def free_port() -> str:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def processes_of(folder: Path) -> list[int]:
    """Return the living processes whose environment names a folder."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _names(entry, folder)]


def _names(entry: Path, folder: Path) -> bool:
    try:
        return os.fsencode(folder) in (entry / "environ").read_bytes()
    except OSError:
        return False
