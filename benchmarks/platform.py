"""The platform as a user starts it, for the length of a benchmark."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from app.core.config import Settings
from app.db.base import make_engine
from app.embedded.network import answers_ok
from app.embedded.platform import READY_PATH
from app.embedded.servers import servers_for
from app.embedded.waiting import wait_until
from benchmarks.processes import SUPERVISOR, cpu_seconds, private_mb, resident_mb

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
PASSWORD = "a long password"
START_SECONDS = 60


@dataclass
class Platform:
    """A running platform: its address, its database, a logged-in client, and the process that holds everything."""

    url: str
    database_url: str
    client: httpx.Client
    pid: int

    @cached_property
    def engine(self) -> Engine:
        """Connections to its database."""
        return make_engine(self.database_url)

    def workflow(self, name: str, *steps: dict[str, Any]) -> str:
        """Save a workflow; returns the address of its webhook."""
        answer = self.client.post(
            "/api/v1/workflows", json={"name": name, "definition": {"steps": steps}}
        )
        answer.raise_for_status()
        return str(answer.json()["webhook_url"])

    def as_another(self, email: str) -> "Platform":
        """Return the same platform, for another user, who is registered now."""
        return replace(self, client=_log_in(self.url, email))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time that its processes have taken, by kind."""
        totals = cpu_seconds(self.pid)
        totals.pop(SUPERVISOR, None)
        return totals

    def resident_mb(self, kind: str) -> float:
        """Return the memory of its largest process of a kind."""
        return resident_mb(self.pid, kind)

    def private_mb(self, kind: str) -> float:
        """Return what of it no other process shares."""
        return private_mb(self.pid, kind)


@contextmanager
def running(**settings: str) -> Iterator[Platform]:
    """Run what `python main.py` runs, in a folder of its own and with fsync on, and stop it at the end.

    In the environment of the benchmark itself, so without main.py, which would see to one of its own.
    """
    with own_folder() as folder, started(folder, **settings) as (url, process):
        client = _log_in(url, "bench@example.com")
        given: dict[str, Any] = {name.lower(): value for name, value in settings.items()}
        with servers_for(Settings(_env_file=None, data_dir=folder, **given)) as found:
            yield Platform(url, found.database_url or "", client, process.pid)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a fresh folder that an unprivileged Postgres may enter."""
    with tempfile.TemporaryDirectory(prefix="automateos-bench-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def started(
    folder: Path, command: Sequence[str] = ("-m", "app.cli"), **settings: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start the platform, yield its address and process once it is ready, and stop it at the end."""
    port = free_port()
    environment = {**os.environ, "DATA_DIR": str(folder), "PORT": str(port), **settings}  # noqa: TID251 - a child's
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles what is ours
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=log, stderr=log, cwd=ROOT
        )
        try:
            url = f"http://{HOST}:{port}"
            if not wait_until(lambda: answers_ok(HOST, port, READY_PATH), START_SECONDS):
                raise SystemExit((folder / "up.log").read_text())
            yield url, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def seconds_to_ready(folder: Path, command: Sequence[str]) -> float:
    """Start the platform, stop it, and return how long it took to be ready."""
    began = time.perf_counter()
    with started(folder, command):
        return time.perf_counter() - began


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _log_in(url: str, email: str) -> httpx.Client:
    client = httpx.Client(base_url=url, timeout=30)
    account = {"email": email, "password": PASSWORD}
    client.post("/api/v1/register", json=account).raise_for_status()
    login = client.post("/api/v1/login", data={"username": email, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
    return client
