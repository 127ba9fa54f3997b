"""Pause, resume, cancel, retry and replay of runs that real workers have in their hands."""

from functools import partial

import pytest

from tests.e2e.control.desk import FINAL, Desk, at_once
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
PROMPTLY_SECONDS = 2.0
SOON_SECONDS = 4.5
"""Controls at the same moment may cost a hint; the sweep makes up for it."""
CONTROLS = ("pause", "resume", "cancel")
NAP = {"id": "nap", "type": "delay", "config": {"seconds": 3600}}


def held(platform: Platform, ada: Desk, sink: Sink) -> str:
    """Start a run whose first call is held at the sink."""
    run_id = ada.begin(platform.call_step("call", "/held"), platform.call_step("after"))
    platform.until(lambda: sink.holding == 1)
    return run_id


def broken(platform: Platform, ada: Desk, sink: Sink) -> str:
    """Start a run whose second step fails, and wait for that."""
    sink.broken.add("/moody")
    steps = [platform.call_step("first"), platform.call_step("second", "/moody")]
    run_id = ada.begin(*steps, platform.call_step("third"))
    assert ada.ended(run_id)["status"] == "failed"
    return run_id


def test_a_paused_run_ends_what_is_in_flight_and_goes_on_when_it_is_resumed(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = held(platform, ada, sink)
    paused = ada.control(run_id, "pause", reason="look first")
    sink.open()
    platform.until(lambda: ada.run(run_id)["steps"][0]["status"] == "succeeded")
    holder = "SELECT count(*) FROM runs WHERE id = :id AND worker_id IS NOT NULL"
    platform.until(lambda: platform.database.count(holder, id=run_id) == 0)
    meanwhile = ada.run(run_id)

    platform.kill_workers()  # who is paused needs nobody
    platform.worker()
    resumed = ada.control(run_id, "resume")
    run = ada.ended(run_id)

    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert (meanwhile["status"], [step["path"] for step in meanwhile["steps"]]) == (
        "paused",
        ["call"],
    )
    assert resumed.status_code == 200
    assert run["status"] == "succeeded"
    assert run["control"]["action"] == "resume"
    assert sink.effects == {f"{run_id}:call": 1, f"{run_id}:after": 1}


def test_cancelling_hangs_up_on_the_call_in_flight(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = held(platform, ada, sink)

    answer = ada.control(run_id, "cancel")
    platform.until(lambda: sink.abandoned == 1, seconds=PROMPTLY_SECONDS)
    sink.open()

    run = ada.run(run_id)
    assert answer.status_code == 200
    assert (run["status"], [step["status"] for step in run["steps"]]) == (
        "cancelled",
        ["cancelled"],
    )
    assert run["finished_at"] is not None
    assert sink.effects == {f"{run_id}:call": 1}


def test_a_move_that_the_state_does_not_allow_is_refused_and_names_the_state(
    platform: Platform, ada: Desk, eve: Desk, sink: Sink
) -> None:
    waiting, over = ada.begin(NAP), ada.begin(platform.call_step("call"))
    ada.until(waiting, "waiting")
    ada.until(over, "succeeded")

    refused = [
        (ada.control(waiting, "resume"), "waiting"),
        (ada.control(waiting, "steps/nap/retry"), "waiting"),
        (ada.control(waiting, "replay", from_step="nap"), "waiting"),
        *((ada.control(over, control), "succeeded") for control in CONTROLS),
        (ada.control(over, "steps/call/retry"), "succeeded"),
    ]
    foreign = [eve.control(waiting, control) for control in (*CONTROLS, "replay")]
    assert ada.control(waiting, "pause").status_code == 200
    refused.append((ada.control(waiting, "pause"), "paused"))
    assert ada.control(waiting, "cancel").status_code == 200
    refused += [(ada.control(waiting, control), "cancelled") for control in CONTROLS]

    for answer, state in refused:
        assert answer.status_code == 409, answer.text
        assert state in answer.json()["detail"], answer.text
    assert [answer.status_code for answer in foreign] == [404] * 4
    assert sink.effects == {f"{over}:call": 1}


@pytest.mark.parametrize("controls", [CONTROLS, ("pause", "resume")], ids="-".join)
def test_of_controls_at_the_same_moment_none_loses_the_run(
    platform: Platform, ada: Desk, sink: Sink, controls: tuple[str, ...]
) -> None:
    run_id = held(platform, ada, sink)
    wishes = [controls[number % len(controls)] for number in range(20)]

    answers = at_once([partial(ada.control, run_id, wish) for wish in wishes])
    sink.open()
    if ada.status(run_id) == "paused":
        assert ada.control(run_id, "resume").status_code == 200
    run = ada.ended(run_id)

    codes = [answer.status_code for answer in answers]
    won = [wish for wish, code in zip(wishes, codes, strict=True) if code == 200]
    assert set(codes) <= {200, 409}
    assert 0 <= won.count("pause") - won.count("resume") <= 1
    assert won.count("cancel") == ("cancel" in controls)
    assert run["status"] == ("cancelled" if "cancel" in controls else "succeeded")
    after = {} if "cancel" in controls else {f"{run_id}:after": 1}
    assert sink.effects == {f"{run_id}:call": 1} | after


def test_a_control_at_the_moment_of_the_end_has_one_winner(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    workflow = ada.save(platform.call_step("call", "/held"))
    run_ids = [ada.start(workflow) for _ in range(20)]
    platform.until(lambda: sink.holding == len(run_ids))

    sink.open()
    answers = at_once([partial(ada.control, run_id, "cancel") for run_id in run_ids])
    statuses = [ada.ended(run_id)["status"] for run_id in run_ids]

    outcomes = {(a.status_code, status) for a, status in zip(answers, statuses, strict=True)}
    assert outcomes <= {(200, "cancelled"), (409, "succeeded")}


def test_a_failed_run_goes_on_from_the_failed_step_once_it_is_mended(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = broken(platform, ada, sink)
    still = ada.control(run_id, "steps/second/retry")
    platform.until(lambda: sink.effects[f"{run_id}:second"] == 2)
    ada.until(run_id, "failed")

    sink.broken.clear()
    answers = at_once([partial(ada.control, run_id, "steps/second/retry")] * 10)
    run = ada.until(run_id, *FINAL, seconds=SOON_SECONDS)

    assert still.status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    assert (run["status"], run["error"]) == ("succeeded", None)
    effects = {"first": 1, "second": 3, "third": 1}
    assert sink.effects == {f"{run_id}:{path}": count for path, count in effects.items()}
    history = ada.get(f"/runs/{run_id}/steps/second/attempts")["items"]
    assert [attempt["superseded"] for attempt in history] == [True, True, False]


def test_a_replay_repeats_the_run_or_what_comes_after_a_step(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    run_id = broken(platform, ada, sink)
    sink.broken.clear()

    whole = ada.post(f"/runs/{run_id}/replay", {}, Idempotency_Key="again")
    repeated = ada.post(f"/runs/{run_id}/replay", {}, Idempotency_Key="again")
    partly = ada.control(run_id, "replay", from_step="second")
    runs = [ada.ended(answer.json()["run_id"]) for answer in (whole, partly)]

    assert [answer.status_code for answer in (whole, repeated, partly)] == [202, 200, 202]
    assert repeated.json()["run_id"] == runs[0]["id"]
    assert [run["status"] for run in runs] == ["succeeded"] * 2
    assert [run["replay_of"] for run in runs] == [run_id] * 2
    called = {key for key in sink.effects if not key.startswith(run_id)}
    assert called == {f"{runs[0]['id']}:{path}" for path in ("first", "second", "third")} | {
        f"{runs[1]['id']}:{path}" for path in ("second", "third")
    }
    assert ada.status(run_id) == "failed"


def test_many_runs_are_cancelled_or_retried_by_a_filter(
    platform: Platform, ada: Desk, eve: Desk, sink: Sink
) -> None:
    sink.broken.add("/moody")
    sleeping, moody = ada.save(NAP), ada.save(platform.call_step("call", "/moody"))
    asleep = {ada.start(sleeping) for _ in range(5)}
    failed = {ada.start(moody) for _ in range(5)}
    assert ada.all_ended(moody, 5) == {"failed": 5}
    sink.broken.clear()

    foreign = eve.post("/runs/cancel", {"ids": sorted(asleep)}).json()
    everything = ada.post("/runs/cancel", {})
    cancelled = ada.post("/runs/cancel", {"workflow_id": sleeping["id"]}).json()
    retried = ada.post("/runs/retry", {"workflow_id": moody["id"], "status": "failed"}).json()

    assert (foreign["changed"], everything.status_code) == (0, 422)
    assert set(cancelled["run_ids"]) == asleep
    assert set(retried["run_ids"]) == failed
    assert ada.all_ended(sleeping, 5) == {"cancelled": 5}
    assert ada.all_ended(moody, 5) == {"succeeded": 5}
    assert {run["status"] for run in map(ada.run, asleep | failed)} <= set(FINAL)
    assert sink.effects == {f"{run_id}:call": 2 for run_id in failed}
