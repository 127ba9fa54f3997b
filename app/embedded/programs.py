"""Our own processes beside the servers: the API, the workers, the migration."""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings
from app.embedded.leftovers import Ending
from app.embedded.managed import Managed

API_SHUTDOWN_SECONDS = 5
MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of our processes; tests put small stand-ins here."""

    api: Sequence[str]
    worker: Sequence[str]
    migration: Sequence[str]


def own_programs(settings: Settings) -> Programs:
    """Return the real ones."""
    api = [
        sys.executable, "-m", "uvicorn", "main:app", "--host", settings.host, "--port", str(settings.port),
        "--workers", str(settings.api_workers),
        "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", str(API_SHUTDOWN_SECONDS),
        # Proxies are believed by TRUSTED_PROXIES alone; who is slow with the head of a request is cut off.
        "--no-proxy-headers", "--http", "app.api.slow_clients:HeadDeadline",
    ]  # fmt: skip
    return Programs(
        api=api,
        worker=[sys.executable, "worker.py"],
        migration=[sys.executable, "-m", "app.embedded.migration"],
    )


class Program(Managed):
    """One of our own processes; what it prints goes to the terminal, or to a log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        patience: float = 10.0,
        ready: Callable[[], bool] | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(name)
        self.ending: Ending = ((signal.SIGTERM, patience), (signal.SIGKILL, MARGIN_SECONDS))
        self._command = command
        self._environment = environment
        self._ready = ready
        self._log = log
        self.ready_word = "ready" if ready else "started"

    def launch(self) -> None:
        """Start it."""
        if self._log is None:
            self.spawn(self._command, environment=self._environment)
            return
        with self._log.open("wb") as log:
            self.spawn(self._command, environment=self._environment, output=log)

    def is_ready(self) -> bool:
        """Tell whether it can do its work by now."""
        return self._ready is None or self._ready()
