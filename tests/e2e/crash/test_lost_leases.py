"""Steps that must not be repeated, and workers that are taken for dead although they live."""

import signal

import pytest

from tests.e2e.crash.harness.platform import LEASE_SECONDS, Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("ending", "code"), [(signal.SIGTERM, "worker_stopped"), (signal.SIGKILL, "worker_lost")]
)
def test_an_effect_that_must_not_be_repeated_fails_with_its_worker(
    platform: Platform, sink: Sink, ending: signal.Signals, code: str
) -> None:
    once = {"id": "once", "type": "call_once", "config": {"url": sink.url("/held")}}
    run_id = platform.trigger(platform.workflow(once))
    leaving = platform.worker(SHUTDOWN_SECONDS="0")
    platform.until(lambda: sink.holding == 1)

    leaving.send(ending)
    leaving.until_ended()
    platform.worker()
    platform.until_ended()

    assert platform.database.attempts(run_id) == [("once", 1, "lost")]
    assert platform.http.get(f"/runs/{run_id}").json()["error"]["code"] == code
    assert sink.effects == {f"{run_id}:once": 1}


def test_a_worker_that_was_taken_for_dead_keeps_what_it_has_claimed_again(
    platform: Platform, sink: Sink
) -> None:
    linger = {"id": "call", "type": "call_and_linger", "config": {"url": sink.url("/held")}}
    run_id = platform.trigger(platform.workflow(linger))
    worker = platform.worker()
    platform.until(lambda: sink.holding == 1)

    platform.database.rows("DELETE FROM workers")
    worker.until_said("node_ignores_cancellation")
    platform.until(lambda: platform.database.attempts(run_id)[-1] == ("call", 2, "running"))
    platform.stays_true(lambda: len(platform.database.attempts(run_id)) == 2, seconds=LEASE_SECONDS)
    sink.open()
    platform.until_ended()

    assert platform.database.attempts(run_id) == [("call", 1, "lost"), ("call", 2, "succeeded")]
    assert sink.effects == {f"{run_id}:call": 2}
