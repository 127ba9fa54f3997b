"""Pause, resume, cancel, retry and replay over HTTP: what is answered, and what is refused."""

from datetime import timedelta
from typing import Any

import pytest

from app.api.container import Container
from app.core.statuses import AttemptStatus, RunStatus
from app.db.session import transaction
from app.models import Run, StepAttempt
from tests.integration.api.conftest import Caller, Sign
from tests.integration.api.tenants import make_workflow, user_ids

LOG = {"type": "log", "config": {"message": "x"}}
THREE = {"steps": [{**LOG, "id": "a"}, {**LOG, "id": "b"}, {**LOG, "id": "c"}]}


async def _start(ada: Caller, workflow: dict[str, Any], value: Any = None) -> str:
    body = {"input": value if value is not None else {}}
    run_id: str = (await ada.post(f"/workflows/{workflow['id']}/runs", body)).json()["run_id"]
    return run_id


def _change(container: Container, run_id: str, **fields: Any) -> None:
    with transaction(container.engine) as session:
        run = session.get_one(Run, run_id)
        for name, value in fields.items():
            setattr(run, name, value)
        session.add(run)


def _fail(container: Container, run_id: str, **attempts: AttemptStatus) -> None:
    """Let a run have failed with these attempts, as a worker would have."""
    now = container.clock.now()
    _change(
        container,
        run_id,
        status=RunStatus.FAILED,
        started_at=now,
        finished_at=now,
        epoch=1,
        wake_at=None,
        error={"code": "broken", "message": "It broke."},
    )
    with transaction(container.engine) as session:
        for seq, (path, status) in enumerate(attempts.items()):
            skipped = status is AttemptStatus.SKIPPED
            session.add(
                StepAttempt(
                    run_id=run_id,
                    path=path,
                    attempt=0 if skipped else 1,
                    seq=seq,
                    type="log",
                    status=status,
                    port="out" if status is AttemptStatus.SUCCEEDED else None,
                    output={"message": path},
                    started_at=None if skipped else now,
                    finished_at=now,
                )
            )


async def test_a_run_is_paused_resumed_and_cancelled(ada: Caller) -> None:
    run_id = await _start(ada, await ada.save())

    paused = await ada.post(f"/runs/{run_id}/pause", {"reason": "look first"})
    resumed = await ada.post(f"/runs/{run_id}/resume")
    cancelled = await ada.post(f"/runs/{run_id}/cancel", {})

    assert [answer.status_code for answer in (paused, resumed, cancelled)] == [200, 200, 200]
    statuses = [answer.json()["status"] for answer in (paused, resumed, cancelled)]
    assert statuses == ["paused", "queued", "cancelled"]
    told = paused.json()["control"]
    assert (told["action"], told["by"], told["reason"]) == ("pause", ada.email, "look first")
    assert cancelled.json()["control"]["reason"] is None
    assert cancelled.json()["finished_at"] is not None


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [
        ("pause", "paused", "run_not_pausable"),
        ("pause", "succeeded", "run_not_pausable"),
        ("resume", "running", "run_not_resumable"),
        ("resume", "failed", "run_not_resumable"),
        ("cancel", "cancelled", "run_not_cancellable"),
        ("cancel", "timed_out", "run_not_cancellable"),
        ("steps/a/retry", "cancelled", "run_not_retryable"),
        ("steps/a/retry", "queued", "run_not_retryable"),
    ],
)
async def test_a_control_that_the_state_does_not_allow_names_the_state(
    ada: Caller, container: Container, action: str, status: str, code: str
) -> None:
    run_id = await _start(ada, await ada.save())
    _change(container, run_id, status=RunStatus(status))

    answer = await ada.post(f"/runs/{run_id}/{action}")

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert f"The run is {status}" in answer.json()["detail"]
    assert (await ada.get(f"/runs/{run_id}")).json()["status"] == status


async def test_a_waiting_run_keeps_its_waits_while_paused(
    ada: Caller, container: Container
) -> None:
    run_id = await _start(ada, await ada.save())
    waits = [{"step": "nap", "kind": "timer", "until": "2026-11-21T00:00:00.000Z"}]
    _change(container, run_id, status=RunStatus.WAITING, waiting_for=waits)

    paused = (await ada.post(f"/runs/{run_id}/pause")).json()
    resumed = (await ada.post(f"/runs/{run_id}/resume")).json()

    assert (paused["status"], paused["waiting_for"]) == ("paused", waits)
    assert (resumed["status"], resumed["waiting_for"]) == ("queued", None)


async def test_a_retry_makes_the_failed_attempts_history(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, await ada.save(definition=THREE))
    done, broken, skipped = AttemptStatus.SUCCEEDED, AttemptStatus.FAILED, AttemptStatus.SKIPPED
    _fail(container, run_id, a=done, b=broken, c=skipped)

    answer = await ada.post(f"/runs/{run_id}/steps/b/retry", {"reason": "mended"})
    history = (await ada.get(f"/runs/{run_id}/steps/b/attempts")).json()["items"]
    again = await ada.post(f"/runs/{run_id}/steps/b/retry")

    run = answer.json()
    assert (answer.status_code, run["status"], run["error"]) == (200, "queued", None)
    assert [step["path"] for step in run["steps"]] == ["a"]
    assert run["finished_at"] is None
    assert [(item["attempt"], item["superseded"]) for item in history] == [(1, True)]
    assert again.status_code == 409


async def test_only_a_step_that_has_failed_is_retried(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, await ada.save(definition=THREE))
    _fail(container, run_id, a=AttemptStatus.SUCCEEDED, b=AttemptStatus.FAILED)

    done = await ada.post(f"/runs/{run_id}/steps/a/retry")
    absent = await ada.post(f"/runs/{run_id}/steps/z/retry")

    assert (done.status_code, done.json()["code"]) == (409, "step_not_retryable")
    assert "succeeded" in done.json()["detail"]
    assert absent.status_code == 404


async def test_a_run_whose_time_is_up_is_to_be_replayed(ada: Caller, container: Container) -> None:
    definition = {**THREE, "timeout_seconds": 60}
    run_id = await _start(ada, await ada.save(definition=definition))
    _fail(container, run_id, a=AttemptStatus.FAILED)
    _change(container, run_id, started_at=container.clock.now() - timedelta(hours=1))

    answer = await ada.post(f"/runs/{run_id}/steps/a/retry")

    assert answer.status_code == 409
    assert "replay it" in answer.json()["detail"]


async def test_a_replay_is_a_new_run_with_the_same_input(ada: Caller, container: Container) -> None:
    workflow = await ada.save(definition=THREE)
    run_id = await _start(ada, workflow, {"n": 1})
    _fail(container, run_id, a=AttemptStatus.SUCCEEDED, b=AttemptStatus.FAILED)

    answer = await ada.post(f"/runs/{run_id}/replay")
    from_step = await ada.post(f"/runs/{run_id}/replay", {"from_step": "b"})

    told = answer.json()
    assert answer.status_code == from_step.status_code == 202
    assert answer.headers["location"] == f"/api/v1/runs/{told['run_id']}"
    assert (told["id"], told["replay_of"]) == (told["run_id"], run_id)
    run = (await ada.get(f"/runs/{told['run_id']}")).json()
    assert (run["status"], run["trigger"], run["replay_of"]) == ("queued", "replay", run_id)
    assert (run["input"], run["steps"]) == ({"n": 1}, [])
    kept = (await ada.get(f"/runs/{from_step.json()['run_id']}")).json()["steps"]
    assert [(step["path"], step["output"]) for step in kept] == [("a", {"message": "a"})]


async def test_a_repeated_replay_gives_the_first_one(ada: Caller) -> None:
    run_id = await _start(ada, await ada.save())
    key = {"Idempotency-Key": "again-1"}

    first = await ada.post(f"/runs/{run_id}/replay", {}, headers=key)
    second = await ada.post(f"/runs/{run_id}/replay", {}, headers=key)
    other = await ada.post(f"/runs/{run_id}/replay", {}, headers={"Idempotency-Key": "again-2"})
    empty = await ada.post(f"/runs/{run_id}/replay", {}, headers={"Idempotency-Key": "k" * 201})

    assert (first.status_code, second.status_code, other.status_code) == (202, 200, 202)
    assert second.json()["run_id"] == first.json()["run_id"] != other.json()["run_id"]
    assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
    assert empty.status_code == 422


async def test_a_replay_runs_the_latest_version_when_asked_to(ada: Caller) -> None:
    workflow = await ada.save()
    run_id = await _start(ada, workflow)
    changed = {"name": "Test", "definition": {**THREE, "inputs": {"required": ["n"]}}}
    assert (await ada.call("PUT", f"/workflows/{workflow['id']}", json=changed)).status_code == 200
    fits = await _start(ada, workflow, {"n": 1})

    refused = await ada.post(f"/runs/{run_id}/replay", {"version": "latest"})
    same = await ada.post(f"/runs/{run_id}/replay", {"version": "same"})
    latest = await ada.post(f"/runs/{fits}/replay", {"version": "latest"})

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    versions = [
        (await ada.get(f"/runs/{answer.json()['run_id']}")).json()["version"]
        for answer in (same, latest)
    ]
    assert versions == [1, 2]


@pytest.mark.parametrize(
    ("steps", "from_step", "status", "says"),
    [
        ([{**LOG, "id": "a"}, {**LOG, "id": "b"}], "b", 202, ""),
        ([{"id": "a", "type": "merge"}, {**LOG, "id": "b"}], "b", 409, "no such step of type log"),
        ([{**LOG, "id": "b"}], "b", 409, "result of step a"),
        ([{**LOG, "id": "a"}], "b", 422, "no step b"),
        ([{**LOG, "id": "new"}, {**LOG, "id": "a"}, {**LOG, "id": "b"}], "b", 409, "other steps"),
        ([{**LOG, "id": "a"}, {**LOG, "id": "b"}], "nothing", 422, "No step nothing has started"),
    ],
)
async def test_a_replay_of_the_latest_version_from_a_step_keeps_only_what_fits(
    ada: Caller,
    container: Container,
    steps: list[dict[str, Any]],
    from_step: str,
    status: int,
    says: str,
) -> None:
    workflow = await ada.save(definition=THREE)
    run_id = await _start(ada, workflow)
    _fail(container, run_id, a=AttemptStatus.SUCCEEDED, b=AttemptStatus.FAILED)
    changed = {"name": "Test", "definition": {"steps": steps}}
    assert (await ada.call("PUT", f"/workflows/{workflow['id']}", json=changed)).status_code == 200

    form = {"version": "latest", "from_step": from_step}
    answer = await ada.post(f"/runs/{run_id}/replay", form)

    assert answer.status_code == status, answer.text
    assert says in answer.json().get("detail", "")


async def test_a_run_that_is_not_over_is_replayed_as_a_whole_only(ada: Caller) -> None:
    workflow = await ada.save()
    run_id = await _start(ada, workflow)

    from_step = await ada.post(f"/runs/{run_id}/replay", {"from_step": "step_1"})
    whole = await ada.post(f"/runs/{run_id}/replay")
    await ada.call("PATCH", f"/workflows/{workflow['id']}", json={"enabled": False})
    disabled = await ada.post(f"/runs/{run_id}/replay")

    assert (from_step.status_code, from_step.json()["code"]) == (409, "run_not_replayable")
    assert whole.status_code == 202
    assert (disabled.status_code, disabled.json()["code"]) == (409, "workflow_disabled")


async def test_many_runs_are_cancelled_by_a_filter(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    mine, other, foreign = await ada.save(), await ada.save(), await bob.save()
    run_ids = [await _start(ada, mine) for _ in range(3)]
    beside, bobs = await _start(ada, other), await _start(bob, foreign)

    one = await ada.post("/runs/cancel", {"ids": [run_ids[0], bobs], "reason": "wrong"})
    rest = await ada.post("/runs/cancel", {"workflow_id": mine["id"], "status": "queued"})

    assert one.status_code == rest.status_code == 200
    assert one.json() == {"matched": 1, "changed": 1, "run_ids": [run_ids[0]], "more": False}
    assert rest.json()["run_ids"] == run_ids[:0:-1]
    statuses = [(await ada.get(f"/runs/{run_id}")).json()["status"] for run_id in run_ids]
    assert statuses == ["cancelled"] * 3
    assert (await ada.get(f"/runs/{beside}")).json()["status"] == "queued"
    assert (await bob.get(f"/runs/{bobs}")).json()["status"] == "queued"


async def test_many_failed_runs_are_retried_by_a_filter(ada: Caller, container: Container) -> None:
    workflow = await ada.save(definition=THREE)
    run_ids = [await _start(ada, workflow) for _ in range(3)]
    for run_id in run_ids[:2]:
        _fail(container, run_id, a=AttemptStatus.SUCCEEDED, b=AttemptStatus.FAILED)

    since = (container.clock.now() - timedelta(hours=1)).isoformat()
    none = await ada.post("/runs/retry", {"until": since})
    answer = await ada.post("/runs/retry", {"since": since})

    assert none.json() == {"matched": 0, "changed": 0, "run_ids": [], "more": False}
    assert answer.json()["run_ids"] == run_ids[1::-1]
    run = (await ada.get(f"/runs/{run_ids[0]}")).json()
    assert (run["status"], [step["path"] for step in run["steps"]]) == ("queued", ["a"])


@pytest.mark.parametrize(
    "body", [None, {}, {"reason": "all"}, {"ids": []}, {"owner": "x"}, {"ids": ["1"]}]
)
async def test_a_filter_that_names_nothing_is_refused(ada: Caller, body: Any) -> None:
    run_id = await _start(ada, await ada.save())

    answers = [await ada.post(path, body) for path in ("/runs/cancel", "/runs/retry")]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert (await ada.get(f"/runs/{run_id}")).json()["status"] == "queued"


async def test_whoever_replays_a_run_has_started_it(ada: Caller) -> None:
    saved = await ada.save()
    run_id = (await ada.http.post(saved["webhook_url"], json={})).json()["run_id"]

    replay = (await ada.post(f"/runs/{run_id}/replay")).json()["run_id"]

    assert (await ada.get(f"/runs/{run_id}")).json()["started_by"] is None
    assert (await ada.get(f"/runs/{replay}")).json()["started_by"] == ada.email


async def test_a_replay_must_have_the_context_that_the_workflow_requires(ada: Caller) -> None:
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}/runs"
    bare = (await ada.post(path, {})).json()["run_id"]
    told = (await ada.post(path, {"context": {"data_scope": "Orders"}})).json()["run_id"]
    rules = {"context": {"required": ["data_scope"]}}
    assert (await ada.call("PATCH", f"/workflows/{workflow['id']}", json=rules)).status_code == 200

    refused = await ada.post(f"/runs/{bare}/replay")
    replay = await ada.post(f"/runs/{told}/replay")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/context/data_scope"
    run = (await ada.get(f"/runs/{replay.json()['run_id']}")).json()
    assert run["context"] == {"data_scope": "Orders"}


async def test_a_replay_is_stopped_by_a_switch_of_the_workflows_new_owner(
    ada: Caller, container: Container
) -> None:
    team = (await ada.post("/teams", {"name": "Finance"})).json()["id"]
    owned = make_workflow(container.engine, user_ids(container.engine)[ada.email], {})
    given = await ada.post(f"/workflows/{owned.workflow_id}/transfer", {"team": team})
    switch = {"scope": "team", "target": team, "mode": "drain", "reason": "audit"}
    put = await ada.post("/admin/kill-switches", switch)

    answer = await ada.post(f"/runs/{owned.run_id}/replay", {})

    assert (given.status_code, put.status_code) == (200, 201)
    assert (answer.status_code, answer.json()["code"]) == (503, "kill_switch")
