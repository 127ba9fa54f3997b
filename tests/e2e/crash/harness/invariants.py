"""What must hold after every fault, told from the tables and from what reached the outside world."""

from collections import Counter

from tests.e2e.crash.harness.database import Database
from tests.e2e.crash.harness.platform import ENDED, Platform
from tests.e2e.crash.harness.programs import processes_of
from tests.e2e.crash.harness.waiting import wait_until

CLEAN_UP_SECONDS = 10.0
API_CONNECTIONS = 20
"""What the API, which outlives the workers, may hold."""
CALLING_TYPES = frozenset({"http_request_node", "call_once", "call_and_linger"})
"""Node types of which each attempt calls the sink once, at most."""
NEVER = {
    "a run that has not ended": f"SELECT * FROM runs WHERE status NOT IN {ENDED} OR finished_at IS NULL",
    "an ended run that is still held, waits, or was never claimed": (
        "SELECT * FROM runs WHERE epoch < 1 OR worker_id IS NOT NULL OR wake_at IS NOT NULL"
    ),
    "a run that ended before it started": "SELECT * FROM runs WHERE finished_at < started_at",
    "an attempt that ended before it started, or never": (
        "SELECT * FROM steps WHERE finished_at IS NULL OR finished_at < started_at"
    ),
    "an attempt that never started": "SELECT * FROM steps WHERE attempt > 0 AND started_at IS NULL",
    "a gap between attempts": (
        "SELECT run_id, path FROM steps WHERE attempt > 0 GROUP BY run_id, path HAVING max(attempt) <> count(*)"
    ),
    "an attempt at a step that had succeeded, or was skipped": (
        "SELECT a.* FROM steps a JOIN steps b ON a.run_id = b.run_id AND a.path = b.path AND a.attempt > b.attempt "
        "WHERE b.status IN ('succeeded', 'skipped')"
    ),
    "an attempt of no run": "SELECT * FROM steps WHERE run_id NOT IN (SELECT id FROM runs)",
}


def check_runs(platform: Platform) -> None:
    """Check I1 to I5 of the testing design, as far as one look at the end tells; every run must have ended by now."""
    database = platform.database
    stored = {str(row["id"]) for row in database.rows("SELECT id FROM runs")}
    assert len(set(platform.accepted)) == len(platform.accepted), "a run answered two triggers"
    assert stored == set(platform.accepted), "each 202 is one run, and no run comes from nowhere"
    for fault, sql in NEVER.items():
        assert database.rows(sql) == [], fault
    _check_effects(platform)


def _check_effects(platform: Platform) -> None:
    """Check I4: no effect without a recorded attempt; a step that succeeded at once had exactly one."""
    attempts: Counter[str] = Counter()
    succeeded: set[str] = set()
    for row in platform.database.rows("SELECT * FROM steps WHERE attempt > 0"):
        key = f"{row['run_id']}:{row['path']}"
        attempts[key] += 1
        if row["type"] in CALLING_TYPES and row["status"] == "succeeded":
            succeeded.add(key)
    effects = platform.sink.effects
    assert succeeded <= effects.keys(), "a step succeeded without its effect"
    often = {key: count for key, count in effects.items() if count > attempts[key]}
    assert not often, "an effect was seen more often than its step was attempted"


def check_nothing_is_open(database: Database) -> None:
    """Check I8 for the connections: what a dead process had begun is undone, and its connections are gone."""
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'automateos'"
    begun = f"{ours} AND state <> 'idle'"
    assert wait_until(lambda: database.count(begun) == 0, CLEAN_UP_SECONDS), "begun, never ended"
    assert wait_until(lambda: database.count(ours) <= API_CONNECTIONS, CLEAN_UP_SECONDS), "leaked"


def check_nothing_is_left(platform: Platform) -> None:
    """Check I8: once all processes were ended, no other process and no connection of theirs is there."""
    assert processes_of(platform.folder) == []
    left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'automateos'"
    assert wait_until(lambda: platform.database.count(left) == 0, CLEAN_UP_SECONDS)
