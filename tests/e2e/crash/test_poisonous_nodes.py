"""Node types that take their worker with them, or that a worker does not have."""

import pytest

from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
POISON = {"id": "poison", "type": "leave_process", "config": {}}


def test_a_step_that_ends_three_workers_fails_and_everything_else_is_done(
    platform: Platform, sink: Sink
) -> None:
    call = platform.call_step("call")
    others = [platform.trigger(platform.workflow(call)) for _ in range(3)]
    poisoned = platform.trigger(platform.workflow(call, POISON))
    exit_codes = [platform.worker(LEASE_SECONDS="1").until_ended() for _ in range(3)]

    platform.worker(LEASE_SECONDS="1")
    platform.until_ended()

    assert exit_codes == [0, 0, 0]
    assert platform.statuses() == {"succeeded": len(others), "failed": 1}
    assert platform.database.attempts(poisoned) == [
        ("call", 1, "succeeded"),
        ("poison", 1, "lost"),
        ("poison", 2, "lost"),
        ("poison", 3, "lost"),
    ]
    run = platform.http.get(f"/runs/{poisoned}").json()
    assert (run["error"]["code"], run["error"]["step"]) == ("worker_lost", "poison")
    assert sink.effects[f"{poisoned}:call"] == 1


def test_a_node_type_that_the_worker_does_not_have_fails_the_run_with_the_reason(
    platform: Platform,
) -> None:
    call = platform.call_step("call")
    unknown = platform.trigger(platform.workflow(POISON))
    known = platform.trigger(platform.workflow(call))

    worker = platform.worker(PLUGINS_DIR="")
    platform.until_ended()

    run = platform.http.get(f"/runs/{unknown}").json()
    assert run["status"] == "failed"
    assert "leave_process" in run["error"]["message"]
    assert platform.http.get(f"/runs/{known}").json()["status"] == "succeeded"
    assert not worker.has_ended()
