"""Run history, and what became of each step."""

from datetime import timedelta
from typing import Any

import pytest

from app.api.container import Container
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.db.session import transaction
from app.models import Run, RunLog, StepAttempt
from tests.integration.api.conftest import Caller


async def _start(ada: Caller, workflow: dict[str, Any]) -> str:
    run_id: str = (await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    return run_id


def _record(container: Container, run_id: str, *attempts: dict[str, Any]) -> None:
    """Write attempts as a worker would, a second apart."""
    now = container.clock.now()
    with transaction(container.engine) as session:
        for seq, fields in enumerate(attempts):
            defaults: dict[str, Any] = {
                "run_id": run_id,
                "type": "log",
                "seq": seq,
                "attempt": 1,
                "started_at": now + timedelta(seconds=seq),
                "finished_at": now + timedelta(seconds=seq, milliseconds=500),
            }
            session.add(StepAttempt(**defaults | fields))


async def test_a_run_tells_what_became_of_each_step(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, await ada.save())
    due = container.clock.now() + timedelta(seconds=9)
    _record(
        container,
        run_id,
        {"path": "first", "status": AttemptStatus.FAILED, "retry_at": due, "error": {"code": "x"}},
        {"path": "first", "attempt": 2, "status": AttemptStatus.SUCCEEDED, "output": {"a": 1}},
        {"path": "second", "status": AttemptStatus.TIMED_OUT, "retry_at": due},
        {"path": "third", "attempt": 0, "status": AttemptStatus.SKIPPED, "started_at": None},
    )

    run = (await ada.get(f"/runs/{run_id}")).json()

    told = [(step["path"], step["status"], step["attempts"]) for step in run["steps"]]
    assert told == [("first", "succeeded", 2), ("second", "waiting", 1), ("third", "skipped", 0)]
    assert run["steps"][0]["output"] == {"a": 1}
    assert run["steps"][0]["error"] is None
    assert run["steps"][0]["started_at"] < run["steps"][1]["started_at"]
    assert run["steps"][1]["finished_at"] is None


async def test_every_attempt_at_a_step_can_be_read(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, await ada.save())
    _record(
        container,
        run_id,
        {"path": "each[0].send", "status": AttemptStatus.LOST},
        {"path": "each[0].send", "attempt": 2, "status": AttemptStatus.RUNNING},
    )

    answer = await ada.get(f"/runs/{run_id}/steps/each[0].send/attempts")
    absent = await ada.get(f"/runs/{run_id}/steps/nowhere/attempts")

    assert [(a["attempt"], a["status"]) for a in answer.json()["items"]] == [
        (1, "lost"),
        (2, "running"),
    ]
    assert absent.status_code == 404


async def test_logs_are_read_oldest_first_by_step_level_and_page(
    ada: Caller, container: Container
) -> None:
    run_id = await _start(ada, await ada.save())
    now = container.clock.now()
    lines = [("a", "info"), ("a", "debug"), ("b", "warning"), ("b", "error")]
    with transaction(container.engine) as session:
        for line, (path, level) in enumerate(lines):
            text = f"line {line}"
            session.add(
                RunLog(
                    run_id=run_id,
                    path=path,
                    attempt=1,
                    line=line,
                    level=level,
                    message=text,
                    at=now,
                )
            )

    async def messages(query: str) -> list[str]:
        items = (await ada.get(f"/runs/{run_id}/logs?{query}")).json()["items"]
        return [item["message"] for item in items]

    first = (await ada.get(f"/runs/{run_id}/logs?limit=3")).json()
    assert await messages("") == ["line 0", "line 1", "line 2", "line 3"]
    assert await messages("step=b") == ["line 2", "line 3"]
    assert await messages("level=warning") == ["line 2", "line 3"]
    assert await messages(f"limit=3&cursor={first['next_cursor']}") == ["line 3"]
    assert (await ada.get(f"/runs/{run_id}/logs?cursor=WzFd")).status_code == 422
    assert first["items"][0] == {
        "step": "a",
        "attempt": 1,
        "level": "info",
        "message": "line 0",
        "data": None,
        "at": first["items"][0]["at"],
        "context": None,
    }


async def test_the_history_is_newest_first_and_read_page_by_page(ada: Caller) -> None:
    workflow = await ada.save()
    started = [await _start(ada, workflow) for _ in range(3)]

    latest = (await ada.get(f"/workflows/{workflow['id']}/runs?limit=1")).json()
    rest = (await ada.get(f"/runs?cursor={latest['next_cursor']}")).json()

    assert [run["id"] for run in latest["items"] + rest["items"]] == started[::-1]
    assert rest["next_cursor"] is None
    assert "steps" not in latest["items"][0]


async def test_the_history_can_be_narrowed(ada: Caller, container: Container) -> None:
    one, other = await ada.save(), await ada.save()
    by_hand = await _start(ada, one)
    by_webhook = (await ada.http.post(other["webhook_url"], json={})).json()["run_id"]
    with transaction(container.engine) as session:
        run = session.get_one(Run, by_hand)
        run.status, run.finished_at = RunStatus.RUNNING, None
        moment = session.get_one(Run, by_webhook).created_at.isoformat().replace("+00:00", "Z")

    async def found(query: str) -> list[str]:
        return [run["id"] for run in (await ada.get(f"/runs?{query}")).json()["items"]]

    assert await found(f"workflow_id={one['id']}") == [by_hand]
    assert await found("status=queued") == [by_webhook]
    assert await found(f"trigger={TriggerKind.MANUAL}") == [by_hand]
    assert await found(f"since={moment}") == [by_webhook]
    assert await found(f"workflow_id={new_id()}") == []


@pytest.mark.parametrize(
    "query", ["status=done", "trigger=x", "since=2026-01-01T00:00:00", "workflow_id=7", "cursor=?"]
)
async def test_a_filter_that_makes_no_sense_is_named(ada: Caller, query: str) -> None:
    answer = await ada.get(f"/runs?{query}")

    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.text


async def test_runs_outlive_their_workflow(ada: Caller) -> None:
    workflow = await ada.save()
    run_id = await _start(ada, workflow)

    await ada.call("DELETE", f"/workflows/{workflow['id']}")

    assert (await ada.get(f"/runs/{run_id}")).status_code == 200
    assert [run["id"] for run in (await ada.get("/runs")).json()["items"]] == [run_id]


@pytest.mark.parametrize(
    "address",
    [
        "/runs?since=0001-01-01T00:00:00%2B23:59",
        "/runs?since=9999-12-31T23:59:59-23:59",
    ],
)
async def test_a_time_that_no_calendar_has_in_utc_is_refused(ada: Caller, address: str) -> None:
    answer = await ada.get(address)

    assert answer.status_code == 422
    assert "since" in answer.text
