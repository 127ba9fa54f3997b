"""One platform of real processes for all tests in a test process, its people, and what must hold after each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.redis import EmbeddedRedis
from tests.databases import Databases
from tests.e2e.control.desk import Desk
from tests.e2e.crash.harness.invariants import NEVER
from tests.e2e.crash.harness.platform import ENDED, Platform
from tests.e2e.crash.harness.sink import Sink
from tests.e2e.crash.harness.watch import check_rules, forget, watch

PEOPLE = ("ada", "bob", "eve")
CHANGED_BY_CONTROLS = (
    "an ended run stays as it is",
    "an ended attempt stays as it is",
    "an attempt is recorded before it starts",
    "an attempt stays",
    "a claim begins an epoch",
)
"""Rules for runs that nobody touches. A retry reopens a failed run, a replay copies results, a resume needs no claim."""
OPEN_RUNS = f"SELECT id, status, waiting_for FROM runs WHERE status NOT IN {ENDED}"
LEFT_WAITS = "SELECT w.* FROM waits w JOIN runs r ON r.id = w.run_id"


@pytest.fixture(scope="session")
def database_of_site(databases: Databases) -> Iterator[str]:
    """A migrated database for all tests here."""
    with databases.lend() as url:
        yield url


@pytest.fixture(scope="session")
def site(database_of_site: str) -> Iterator[Platform]:
    """API and workers."""
    folder = Path(tempfile.mkdtemp(prefix="automateos-control-"))
    folder.chmod(0o711)
    with EmbeddedRedis(folder / "redis") as redis:
        platform = Platform(folder, database_of_site, redis.url)
        watch(platform.database)
        try:
            platform.worker()
            platform.api()
            yield platform
        finally:
            platform.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def people(site: Platform) -> Iterator[dict[str, Desk]]:
    """Three who have accounts. Ada, who was first, is admin and has the workflows."""
    desks = {name: Desk(site, f"{name}@example.com") for name in PEOPLE}
    yield desks
    for desk in desks.values():
        desk.http.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def platform(site: Platform, people: dict[str, Desk], sink: Sink) -> Iterator[Platform]:
    """API and at least one worker. After the test, every run has ended and nothing is left of it."""
    del people
    site.sink = sink
    forget(site.database)
    if site.api_is_down():
        site.api()
    if site.living_workers() == 0:
        site.worker()
    yield site
    try:
        check_runs(site)
    except AssertionError:  # the next test begins without it
        site.kill_workers()
        site.database.rows("TRUNCATE runs, steps, run_logs, waits, workers")
        raise
    site.kill_surplus_workers()


def check_runs(site: Platform) -> None:
    """Check what must hold once a test is over."""
    site.until(lambda: site.database.rows(OPEN_RUNS) == [], seconds=5)
    for fault, sql in NEVER.items():
        assert site.database.rows(sql) == [], fault
    assert site.database.rows(LEFT_WAITS) == [], "a wait of a run that is over"
    check_rules(site.database, but=CHANGED_BY_CONTROLS)


@pytest.fixture
def ada(platform: Platform, people: dict[str, Desk]) -> Desk:
    del platform
    return people["ada"]


@pytest.fixture
def bob(platform: Platform, people: dict[str, Desk]) -> Desk:
    del platform
    return people["bob"]


@pytest.fixture
def eve(platform: Platform, people: dict[str, Desk]) -> Desk:
    del platform
    return people["eve"]
