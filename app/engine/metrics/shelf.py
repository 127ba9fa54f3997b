"""Where the processes of one machine lay down their numbers, so that each API process can show those of all of them.

Several API processes share one port, and a scrape reaches any one of them. So each process writes its numbers into
DATA_DIR/metrics every two seconds, and whoever is asked adds what the others wrote. The multiprocess mode of
prometheus_client would do it with memory-mapped files, but it must be chosen by a variable of the environment before the
library is imported, pays on every count, forgets gauges, and keeps the files of every process that ever died.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.registry import Collector

from app.core.clock import Clock
from app.core.logging import get_logger

FOLDER: Final = "metrics"
PUBLISH_SECONDS: Final = 2.0
STALE_SECONDS: Final = 15.0
"""A file that was not written for so long is that of a dead process."""
_SUFFIX: Final = ".prom"
log = get_logger(__name__)


class Shelf:
    """A folder with one file for each living process; `name` is this one's."""

    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self.name = name
        self._file = folder / f"{name}{_SUFFIX}"

    def put(self, text: bytes) -> None:
        """Lay down the numbers of this process.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".new")
        unfinished.write_bytes(text)
        unfinished.replace(self._file)

    def others(self) -> Mapping[str, str]:
        """Return what the other living processes have laid down, by name; what the dead have left is removed."""
        found = {}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):  # it ended this moment
                if self._age_of(path) > STALE_SECONDS:
                    path.unlink()
                elif path != self._file:
                    found[path.stem] = path.read_text()
        return found

    def remove(self) -> None:
        """Take this process's numbers away."""
        with suppress(OSError):
            self._file.unlink()

    def _age_of(self, path: Path) -> float:
        return self._clock.now().timestamp() - path.stat().st_mtime


class Publish:
    """Duty: lay down the numbers of this process, for the API processes of this machine to show."""

    name = "metrics"
    interval_seconds = PUBLISH_SECONDS

    def __init__(self, shelf: Shelf, registry: Collector) -> None:
        self._shelf, self._registry = shelf, registry
        self._told = False

    def run_once(self) -> Mapping[str, int]:
        """Write them; a folder that cannot be written is told once, for everything else goes on without."""
        try:
            self._shelf.put(generate_latest(self._registry))
        except OSError as error:
            if not self._told:
                log.warning("metrics_not_shared", reason=str(error))
            self._told = True
        return {}
