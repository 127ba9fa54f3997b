"""What must hold after every fault, told from the tables and from what reached the outside world."""

from collections import Counter

from tests.e2e.crash.harness.platform import ENDED, Platform
from tests.e2e.crash.harness.programs import processes_of
from tests.e2e.crash.harness.waiting import wait_until

CLEAN_UP_SECONDS = 10.0


def check_runs(platform: Platform) -> None:
    """Check I1 to I5 of the testing design; every run must have ended by now."""
    database = platform.database
    stored = {str(row["id"]) for row in database.rows("SELECT id FROM runs")}
    assert len(set(platform.accepted)) == len(platform.accepted), "a run answered two triggers"
    assert stored == set(platform.accepted), "each 202 is one run, and no run comes from nowhere"
    assert platform.database.rows(f"SELECT * FROM runs WHERE status NOT IN {ENDED}") == []
    assert (
        database.rows(
            "SELECT run_id, path FROM steps WHERE status = 'succeeded' GROUP BY 1, 2 HAVING count(*) > 1"
        )
        == []
    ), "a step succeeded twice"
    assert (
        database.rows(
            "SELECT * FROM steps WHERE finished_at < started_at OR (finished_at IS NULL AND status = 'running')"
        )
        == []
    ), "an attempt ended before it started, or never"
    assert (
        database.rows(
            "SELECT * FROM runs WHERE epoch < 1 OR worker_id IS NOT NULL OR finished_at < started_at"
        )
        == []
    ), "an ended run is still held, or was never claimed"
    _check_effects(platform)


def _check_effects(platform: Platform) -> None:
    recorded: Counter[str] = Counter()
    for row in platform.database.rows(
        "SELECT run_id, path, type, status FROM steps WHERE attempt > 0"
    ):
        key = f"{row['run_id']}:{row['path']}"
        recorded[key] += 1
        if row["type"] == "http_request_node" and row["status"] == "succeeded":
            assert platform.sink.effects[key] >= 1, f"{key} succeeded without its effect"
    for key, effects in platform.sink.effects.items():
        assert effects <= recorded[key], f"{key} took effect more often than it was attempted"


def check_nothing_is_left(platform: Platform) -> None:
    """Check I8: once all processes were ended, no other process and no connection of theirs is there."""
    assert processes_of(platform.folder) == []
    left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'automateos'"
    assert wait_until(lambda: platform.database.count(left) == 0, CLEAN_UP_SECONDS)
