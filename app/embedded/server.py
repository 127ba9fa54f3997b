"""What the embedded Postgres and Redis share: a private folder, a unix socket with a short path, a log."""

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from app.core.errors import ConfigurationError
from app.embedded.identity import Identity, hand_over
from app.embedded.leftovers import end_leftover
from app.embedded.managed import Managed
from app.embedded.waiting import wait_until

SOCKET_PATH_BYTES = 100  # the kernel's limit is 107, and PostgreSQL adds `.lock`
SOCKET_FOLDER_PREFIX = "automateos-"
KEEP_LOG_BYTES = 10_000_000
START_SECONDS = 60.0


class EmbeddedServer(Managed):
    """A server that keeps everything in `directory`; its log stands beside it, as `directory`.log.

    Use it as a context manager, or call `start` and `stop`. Only one may run on a directory, which the caller sees to.
    """

    socket_name: str
    hasty_seconds = 3.0

    def __init__(
        self, name: str, directory: Path, options: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name)
        self.directory = directory.absolute()
        self.log = self.directory.with_name(f"{self.directory.name}.log")
        self.options = dict(options or {})
        self._socket_folder: Path | None = None
        self._log_start = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """Return where clients find it, once it was launched."""

    @abstractmethod
    def launch_in_folder(self) -> None:
        """Start the process: the folder is there, and no older server works in it."""

    @property
    @abstractmethod
    def pid_file(self) -> Path:
        """Return the file that holds the server's process id."""

    @property
    @abstractmethod
    def working_folder(self) -> Path:
        """Return the folder that the server's process works in."""

    @property
    def identity(self) -> Identity | None:
        """Return as whom it runs; None: as we are."""
        return None

    @property
    def socket_folder(self) -> Path:
        """Return the folder of the socket: its own, or a private one under the temporary folder."""
        if self._socket_folder is None:
            self._socket_folder = self._make_socket_folder()
        return self._socket_folder

    def launch(self) -> None:
        """Start the process and do not wait for it; one that a killed parent left is ended first."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            hand_over(self.directory, self.identity)
        except OSError as error:
            raise ConfigurationError(
                f"{self.directory} cannot be used: {error.strerror}."
            ) from None
        end_leftover(self.pid_file, self.working_folder, self.ending)
        self._rotate_log()
        self.launch_in_folder()

    def start(self) -> str:
        """Start it, wait until it answers, and return its URL.

        Raises:
            ConfigurationError: when it does not start, with what it said last.
        """
        self.launch()
        if not wait_until(lambda: self.has_ended() or self.is_ready(), START_SECONDS):
            self.stop()
        if self.has_ended():
            raise ConfigurationError(self.explain_end())
        return self.url

    def clean_up(self) -> None:
        """Remove what serves a running server alone."""
        super().clean_up()
        folder, self._socket_folder = self._socket_folder, None
        if folder is not None and folder != self.directory:
            shutil.rmtree(folder, ignore_errors=True)
            self._note.unlink(missing_ok=True)

    def restart(self) -> str:
        """Stop it in good order and start it again, under the same URL."""
        self.end()
        return self.start()

    def explain_end(self) -> str:
        """Return how it ended, with the last that it wrote."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = [
                line for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ]
        fatal = [line for line in lines if "FATAL" in line or "error" in line.lower()]
        last = (fatal or lines or ["it wrote nothing"])[-1].strip().rstrip(".")
        return f"{self.name} ended ({self.how_it_ended()}): {last}; more is in {self.log}."

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    def spawn_server(self, command: list[str]) -> None:
        """Start the server's program, which writes to the log."""
        with self.log.open("ab") as log:
            self.spawn(command, identity=self.identity, output=log)

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > KEEP_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.old"))
        self.log.touch(mode=0o600)
        self._log_start = self.log.stat().st_size

    def _make_socket_folder(self) -> Path:
        """Choose a folder whose path leaves room for the socket's name; one of an earlier life is removed."""
        self._remove_noted_folder()
        if self._fits(self.directory):
            return self.directory
        parents = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - mkdtemp makes a private one inside
        parent = next(
            (
                folder
                for folder in parents
                if self._fits(folder / f"{SOCKET_FOLDER_PREFIX}12345678")
            ),
            parents[-1],
        )
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX, dir=parent))
        hand_over(folder, self.identity)
        self._note.write_text(str(folder))
        return folder

    @property
    def _note(self) -> Path:
        """Return the file that remembers a socket folder; it lies where the server itself cannot write."""
        return self.directory.with_name(f"{self.directory.name}.socket")

    def _remove_noted_folder(self) -> None:
        with suppress(OSError):
            folder = Path(self._note.read_text())
            if folder.name.startswith(SOCKET_FOLDER_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)

    def _fits(self, folder: Path) -> bool:
        return len(bytes(folder / self.socket_name)) <= SOCKET_PATH_BYTES
