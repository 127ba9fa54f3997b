"""Owners and their lanes; whose turn it is; what a hint may hold."""

from typing import Any

import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from app.core.ids import new_id
from app.engine.delivery.hints import ADVANCE_RUNS, HintJob
from app.engine.delivery.lanes import LANES, MIXED, Turns, by_lane, lane_of

OWNER = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_an_owners_lane_is_the_same_in_every_process_and_version() -> None:
    assert [lane_of(OWNER), lane_of("")] == ["runs:53", "runs:00"]


def test_owners_spread_over_all_lanes() -> None:
    assert {lane_of(new_id()) for _ in range(2_000)} == set(LANES)


def test_runs_are_sorted_by_lane_in_their_order() -> None:
    sorted_ = by_lane(["1", "2", "3"], {"1": OWNER, "3": OWNER})

    assert sorted_ == {lane_of(OWNER): ["1", "3"], lane_of(""): ["2"]}


def test_every_lane_has_its_turn_before_one_has_its_second() -> None:
    turns, taken = Turns(), []

    for _ in range(2 * len(LANES)):
        turns.taken(MIXED)
        taken.append(turns.order()[0])
        turns.taken(taken[-1])

    assert taken == [*LANES, *LANES]


def test_after_a_lane_it_is_the_mixed_queues_turn() -> None:
    turns = Turns()

    turns.taken(LANES[5])

    assert turns.order()[:2] == [MIXED, LANES[6]]


def _job(*args: Any, function: str = ADVANCE_RUNS) -> HintJob:
    job = HintJob.create(function, args=args, connection=Redis(), serializer=JSONSerializer)
    assert isinstance(job, HintJob)
    return job


def test_a_hint_tells_its_runs_by_lane_and_drops_what_is_no_id() -> None:
    job = _job({LANES[3]: [OWNER, "no id", None, 7]})

    assert job.hint == {LANES[3]: [OWNER]}


@pytest.mark.parametrize(
    "told",
    [
        "no lanes",
        [OWNER],
        {"no lane": [OWNER]},
        {MIXED: [OWNER]},
        {LANES[0]: OWNER},
        {LANES[0]: [OWNER] * 150, LANES[1]: [OWNER] * 51},
    ],
)
def test_what_is_not_runs_by_lane_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="a hint holds"):
        _ = _job(told).hint


def test_a_job_that_names_another_function_is_refused() -> None:
    job = _job({LANES[0]: [OWNER]}, function="os.system")

    with pytest.raises(ValueError, match="no hint of ours"):
        _ = job.hint


def test_nothing_that_comes_by_the_queue_is_executed() -> None:
    with pytest.raises(RuntimeError, match="not executed"):
        _ = _job({LANES[0]: [OWNER]}).func
