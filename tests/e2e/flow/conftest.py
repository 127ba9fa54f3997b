"""The platform as a user finds it: API and worker as processes, on either database."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.crash.harness.invariants import check_runs
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="automateos-flow-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def platform(folder: Path, database_url: str, redis_url: str, sink: Sink) -> Iterator[Platform]:
    """API and worker; nobody is registered yet."""
    platform = Platform(folder, database_url, redis_url)
    platform.sink = sink
    try:
        platform.worker()
        platform.api()
        yield platform
        check_runs(platform)
    finally:
        platform.stop()
