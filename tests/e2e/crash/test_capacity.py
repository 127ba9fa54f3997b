"""How much one worker process can hold at once."""

import pytest

from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.scale import in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash


@in_flight(300)
def test_one_worker_holds_hundreds_of_runs_at_the_same_time(
    platform: Platform, sink: Sink, runs: int
) -> None:
    workflow = platform.workflow(platform.call_step("call", "/held"))
    platform.worker()

    platform.trigger_many(workflow, runs)
    platform.until(lambda: sink.holding == runs)
    sink.open()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": runs}
    assert set(sink.effects.values()) == {1}
