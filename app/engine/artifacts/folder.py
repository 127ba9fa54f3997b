"""Artifacts in a folder: of one machine, or a volume that all machines mount."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1024 * 1024


class FolderObjects:
    """Keeps each object in a file below `root`; the folder is made when the first one is written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, key: str) -> int | None:
        """Return how many bytes are there; None when nothing is."""
        try:
            return (self._root / key).stat().st_size
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Write beside the file and rename, so that nobody ever sees half of it; synced before and after."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        for folder in (path.parent, path.parent.parent, self._root):
            _sync(folder)

    def open(self, key: str) -> Iterator[bytes]:
        """Return the bytes in pieces; the file is opened at once.

        Where the whole folder is missing, a volume is not mounted: that is no missing object.
        """
        try:
            return _pieces((self._root / key).open("rb"))
        except FileNotFoundError:
            if not self._root.is_dir():
                raise OSError(f"there is no folder {self._root}") from None
            raise


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _sync(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
