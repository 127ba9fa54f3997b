"""Several processes behind one port: whichever is asked shows the numbers of all."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.programs import free_port
from tests.e2e.crash.harness.waiting import PATIENCE_SECONDS

RUNS = 40
LOG = {"type": "log", "config": {"message": "Hello"}}
Found = dict[tuple[str, str], float]
"""Values by name and process, added up over all other labels."""


@pytest.fixture
def port() -> str:
    return free_port()


@pytest.fixture
def platform(folder: Path, postgres_url: str, redis_url: str, port: str) -> Iterator[Platform]:
    """Two API processes that share a port, and two workers, one of which has a port of its own."""
    platform = Platform(folder, postgres_url, redis_url, API_WORKERS="2")
    try:
        platform.api()
        workers = [platform.worker(METRICS_PORT=port), platform.worker()]
        platform.registered(*workers)
        platform.log_in()
        yield platform
    finally:
        platform.stop()


def _scrape(url: str) -> Found:
    answer = httpx.get(url, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200, answer.text
    found: Found = defaultdict(float)
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name, sample.labels.get("process", "")] += sample.value
    return found


def _sum(found: Found, name: str) -> float:
    return sum(value for (found_name, _), value in found.items() if found_name == name)


def _processes(found: Found, kind: str) -> set[str]:
    return {process for _, process in found if process.startswith(kind)}


def test_whichever_process_is_asked_shows_the_numbers_of_all(platform: Platform, port: str) -> None:
    shared = f"http://127.0.0.1:{platform.settings['PORT']}/metrics"
    accepted, ended = "automateos_triggers_accepted_total", "automateos_runs_ended_total"
    platform.until(lambda: len(_processes(_scrape(shared), "api-")) == 2)
    platform.trigger_many(platform.workflow(LOG), RUNS)

    platform.until(lambda: all(_sum(_scrape(shared), ended) == RUNS for _ in range(4)))
    platform.until(lambda: all(_sum(_scrape(shared), accepted) == RUNS for _ in range(4)))

    found = _scrape(shared)
    own = _scrape(f"http://127.0.0.1:{port}/metrics")
    assert (len(_processes(found, "api-")), len(_processes(found, "worker-"))) == (2, 2)
    assert found["automateos_workers", ""] == 2
    assert own[ended, ""] in {found[ended, worker] for worker in _processes(found, "worker-")}
