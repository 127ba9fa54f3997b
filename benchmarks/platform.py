"""The platform as a user starts it, for the length of a benchmark."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.core.config import Settings
from app.embedded.servers import servers_for
from app.embedded.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60


@dataclass
class Platform:
    """A running platform: its address, its database, and a logged-in client."""

    url: str
    database_url: str
    client: httpx.Client

    def workflow(self, name: str, *steps: dict[str, Any]) -> str:
        """Save a workflow; returns the address of its webhook."""
        answer = self.client.post(
            "/api/v1/workflows", json={"name": name, "definition": {"steps": steps}}
        )
        answer.raise_for_status()
        return str(answer.json()["webhook_url"])


@contextmanager
def running(**settings: str) -> Iterator[Platform]:
    """Run what `python main.py` runs, in a folder of its own and with fsync on, and stop it at the end.

    In the environment of the benchmark itself, so without main.py, which would see to one of its own.
    """
    with tempfile.TemporaryDirectory(prefix="automateos-bench-") as folder:
        Path(folder).chmod(0o711)
        port = _free_port()
        environment = {**os.environ, "DATA_DIR": folder, "PORT": str(port), **settings}  # noqa: TID251 - a child's
        with (Path(folder) / "up.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli"],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
            try:
                yield _ready(f"http://127.0.0.1:{port}", Path(folder), settings)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def _ready(url: str, folder: Path, settings: dict[str, str]) -> Platform:
    client = httpx.Client(base_url=url, timeout=30)
    if not wait_until(lambda: _answers(client), START_SECONDS):
        raise SystemExit((folder / "up.log").read_text())
    account = {"email": "bench@example.com", "password": "a long password"}
    client.post("/api/v1/register", json=account).raise_for_status()
    login = client.post(
        "/api/v1/login", data={"username": account["email"], "password": account["password"]}
    )
    client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
    given: dict[str, Any] = {name.lower(): value for name, value in settings.items()}
    with servers_for(Settings(_env_file=None, data_dir=folder, **given)) as found:
        return Platform(url, found.database_url or "", client)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
