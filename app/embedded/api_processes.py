"""How many API processes serve: each lays its numbers down (`app.engine.metrics.shelf`) when it begins to."""

from collections.abc import Sequence
from pathlib import Path


def forget_api_processes(data_dir: Path) -> None:
    """Remove what those of an earlier start have left."""
    for file in _files(data_dir):
        file.unlink(missing_ok=True)


def api_processes(data_dir: Path) -> int:
    """Return how many have begun to serve since then."""
    return len(_files(data_dir))


def _files(data_dir: Path) -> Sequence[Path]:
    return list((data_dir / "metrics").glob("api-*.prom"))
