"""Steps that wait for nothing run at the same time."""

import pytest

from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
WIDTH = 10
ONE_MOMENT = "SELECT max(started_at) <= min(finished_at) AS all_open FROM steps"


def test_ten_independent_calls_are_open_at_the_same_moment(platform: Platform, sink: Sink) -> None:
    platform.log_in()
    wall = [platform.call_step(f"call_{n}", "/held", depends_on=[]) for n in range(WIDTH)]
    run_id = platform.trigger(platform.workflow(*wall))

    platform.until(lambda: sink.holding == WIDTH)  # of which each is answered once all are open
    sink.open()
    platform.until_ended()

    assert platform.statuses() == {"succeeded": 1}
    assert platform.database.rows(ONE_MOMENT)[0]["all_open"]
    assert sink.effects == {f"{run_id}:{step['id']}": 1 for step in wall}
