"""DATA_DIR: made private, held by one platform at a time, with the secret key and a note of what runs."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.config import MIN_SECRET_BYTES, SECRET_KEY_FILE, Settings, require_secret_key
from app.core.errors import ConfigurationError

LOCK_FILE = "lock"


class AlreadyRunning(ConfigurationError):
    """Another platform holds this DATA_DIR; `note` is what it said about itself."""

    def __init__(self, folder: Path, note: dict[str, str]) -> None:
        super().__init__(
            f"AutomateOS already runs on {folder} (process {note.get('pid', 'unknown')}): "
            "stop it, or set DATA_DIR to another folder."
        )
        self.note = note


class DataFolder:
    """A folder that is ours until the process ends; get it from `hold`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def note(self, **facts: str) -> None:
        """Tell other processes what runs here: `pid`, and the URLs of the embedded servers."""
        content = json.dumps({"pid": str(os.getpid()), **facts}).encode()
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, content, 0)

    def secret_key(self, settings: Settings) -> str:
        """Return the signing key, generated into the folder the first time."""
        file = self.path / SECRET_KEY_FILE
        if settings.secret_key is None and not file.exists():
            unfinished = file.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            unfinished.touch(mode=0o600)
            unfinished.write_text(f"{secrets.token_hex(MIN_SECRET_BYTES)}\n")
            unfinished.rename(file)
        return require_secret_key(settings)


@contextmanager
def hold(path: Path) -> Iterator[DataFolder]:
    """Make the folder and keep everybody else out of it.

    Raises:
        AlreadyRunning: when another process holds it.
        ConfigurationError: when it cannot be used.
    """
    try:
        _make(path)
        lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"DATA_DIR={path} cannot be written ({error.strerror}): set DATA_DIR to a folder of yours."
        ) from None
    try:
        _lock(lock, path)
        folder = DataFolder(path, lock)
        folder.note()
        yield folder
    finally:
        os.close(lock)


def _make(path: Path) -> None:
    """Make the folder private; root lets others pass through it, for PostgreSQL runs as another user."""
    if not path.exists():
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied")


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(path, _read_note(lock)) from None


def _read_note(lock: int) -> dict[str, str]:
    try:
        note = json.loads(os.pread(lock, 65_536, 0))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
