"""Kill switches over HTTP: operators set and lift them, and what is stopped is refused with nothing stored."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlmodel import Session, select
from typer.testing import CliRunner, Result

from app.api.container import Container
from app.cli.stop_all import app as stop_all_command
from app.cli.switch import app as switch_command
from app.core.clock import SystemClock
from app.core.errors import AutomateError
from app.core.ids import new_id
from app.core.statuses import RunStatus
from app.engine.duties.schedules import Schedules
from app.engine.registry import load_catalogue
from app.models import KillSwitch, Run, Schedule
from tests.integration.api.conftest import Caller, Sign

SWITCHES = "/admin/kill-switches"


async def put(operator: Caller, scope: str = "all", target: str | None = None, **more: Any) -> Any:
    body = {"scope": scope, "target": target, "mode": "halt", "reason": "the CRM burns", **more}
    return await operator.post(SWITCHES, body)


@pytest.fixture
async def bob(sign_up: Sign, ada: Caller) -> Caller:
    """A member: Ada, who was first, is the admin."""
    del ada
    return await sign_up("bob@example.com")


def runs_in(container: Container) -> int:
    with Session(container.engine) as session:
        return len(session.exec(select(Run.id)).all())


async def test_a_switch_is_set_shown_lifted_and_stays_as_history(ada: Caller) -> None:
    answer = await put(ada, "node_type", "http_request_node", mode="drain")
    switch = answer.json()
    listed = (await ada.get(SWITCHES, params={"active": True})).json()["items"]
    status = (await ada.get("/admin/status")).json()
    first = await ada.call("DELETE", f"{SWITCHES}/{switch['id']}")
    second = await ada.call("DELETE", f"{SWITCHES}/{switch['id']}")

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1{SWITCHES}/{switch['id']}"
    assert (switch["active"], switch["created_by"]) == (True, "ada@example.com")
    assert (listed, status["kill_switches"], status["mode"]) == ([switch], [switch], "normal")
    assert (first.status_code, second.json()) == (200, first.json())
    assert (first.json()["active"], first.json()["lifted_by"]) == (False, "ada@example.com")
    assert (await ada.get(SWITCHES)).json()["items"] == [first.json()]
    assert (await ada.get(f"{SWITCHES}/{switch['id']}")).json() == first.json()
    assert (await ada.get(SWITCHES, params={"active": True})).json()["items"] == []


async def test_the_global_switch_may_be_set_and_lifted_again_and_again(ada: Caller) -> None:
    calls = [{"enabled": True}, {"enabled": True}, {"enabled": True, "mode": "drain"}]
    found = [(await ada.post("/admin/kill_switch", params=call)).json() for call in calls]
    halted = (await ada.get("/admin/status")).json()["mode"]
    lifted = [await ada.post("/admin/kill_switch", params={"enabled": False}) for _ in range(2)]

    assert [(answer["enabled"], len(answer["kill_switches"])) for answer in found] == [
        (True, 1),
        (True, 1),
        (True, 2),
    ]
    assert halted == "halt"
    assert [answer.json() for answer in lifted] == [{"enabled": False, "kill_switches": []}] * 2
    assert (await ada.get("/admin/status")).json()["mode"] == "normal"


async def test_only_operators_see_and_set_switches(bob: Caller) -> None:
    answers = [
        await put(bob),
        await bob.get(SWITCHES),
        await bob.post("/admin/kill_switch", params={"enabled": True}),
        await bob.call("DELETE", f"{SWITCHES}/{new_id()}"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4


@pytest.mark.parametrize(
    ("scope", "target", "more", "pointer"),
    [
        ("all", "x", {}, "/target"),
        ("user", None, {}, "/target"),
        ("user", "nobody@example.com", {}, "/target"),
        ("user", "00000000-0000-0000-0000-000000000000", {}, "/target"),
        ("workflow", "my workflow", {}, "/target"),
        ("workflow", "00000000-0000-0000-0000-000000000000", {}, "/target"),
        ("team", "ops", {}, "/target"),
        ("node_type", "http_request", {}, "/target"),
        ("all", None, {"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ("all", None, {"reason": "  "}, "/reason"),
        ("galaxy", None, {}, "/scope"),
        ("all", None, {"mode": "dream"}, "/mode"),
    ],
)
async def test_what_stops_nothing_is_refused(
    ada: Caller, scope: str, target: str | None, more: dict[str, Any], pointer: str
) -> None:
    answer = await put(ada, scope, target, **more)

    assert answer.status_code == 422
    assert [problem["pointer"] for problem in answer.json()["errors"]] == [pointer]
    assert (await ada.get(SWITCHES)).json()["items"] == []


async def test_a_misspelt_node_type_is_answered_with_the_nearest(ada: Caller) -> None:
    answer = await put(ada, "node_type", "http_request")

    assert "Did you mean 'http_request_node'?" in answer.json()["detail"]


async def _kinds(ada: Caller, workflow: dict[str, Any], run_id: str) -> dict[str, Any]:
    """Return the answer to each way to start something."""
    return {
        "webhook": await ada.http.post(workflow["webhook_url"], json={}),
        "by hand": await ada.post(f"/workflows/{workflow['id']}/runs", {}),
        "replay": await ada.post(f"/runs/{run_id}/replay", {}),
        "retry": await ada.post(f"/runs/{run_id}/steps/step_1/retry", {}),
        "retry many": await ada.post("/runs/retry", {"status": "failed"}),
    }


def _fail(container: Container, run_id: str) -> None:
    with Session(container.engine) as session:
        run = session.exec(select(Run).where(Run.id == run_id)).one()
        run.status, run.finished_at, run.wake_at = (
            RunStatus.FAILED,
            SystemClock().now(),
            None,
        )
        session.add(run)
        session.commit()


@pytest.mark.parametrize("mode", ["drain", "halt"])
@pytest.mark.parametrize("scope", ["all", "user", "workflow"])
async def test_nothing_starts_that_is_stopped_and_the_answer_says_why_and_when_to_come_again(
    ada: Caller, container: Container, scope: str, mode: str
) -> None:
    workflow = await ada.save()
    run_id = (await ada.post(f"/workflows/{workflow['id']}/runs", {})).json()["run_id"]
    _fail(container, run_id)
    target = {"user": "Ada@example.com", "workflow": workflow["id"]}.get(scope)
    switch = (await put(ada, scope, target, mode=mode)).json()

    answers = await _kinds(ada, workflow, run_id)

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
        answers, 503
    )
    for answer in answers.values():
        assert answer.json()["code"] == "kill_switch"
        assert "the CRM burns" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "60"
    assert runs_in(container) == 1
    await ada.call("DELETE", f"{SWITCHES}/{switch['id']}")
    assert (await ada.http.post(workflow["webhook_url"], json={})).status_code == 202


async def test_strangers_learn_nothing_of_a_switch(ada: Caller, bob: Caller) -> None:
    workflow = await ada.save()
    await put(ada)

    wrong_token = await bob.http.post(f"/api/v1/webhooks/{workflow['id']}?token=x", json={})
    others = await bob.post(f"/workflows/{workflow['id']}/runs", {})

    assert (wrong_token.status_code, others.status_code) == (401, 404)


async def test_what_others_own_is_still_started(ada: Caller, bob: Caller) -> None:
    workflow = await bob.save()
    await put(ada, "user", "ada@example.com")

    assert (await bob.post(f"/workflows/{workflow['id']}/runs", {})).status_code == 202


async def test_retry_after_is_the_rest_of_the_switch_s_time(ada: Caller) -> None:
    workflow = await ada.save()
    expires_at = SystemClock().now() + timedelta(seconds=30)
    await put(ada, expires_at=expires_at.isoformat())

    answer = await ada.post(f"/workflows/{workflow['id']}/runs", {})

    assert 25 <= int(answer.headers["retry-after"]) <= 30


async def test_a_switch_whose_time_is_up_stops_nothing(ada: Caller, container: Container) -> None:
    workflow = await ada.save()
    await put(ada)
    with Session(container.engine) as session:
        switch = session.exec(select(KillSwitch)).one()
        switch.expires_at = SystemClock().now() - timedelta(seconds=1)
        session.add(switch)
        session.commit()

    answer = await ada.post(f"/workflows/{workflow['id']}/runs", {})

    assert answer.status_code == 202
    assert (await ada.get("/admin/status")).json()["mode"] == "normal"
    assert (await ada.get(SWITCHES)).json()["items"][0]["active"] is False


async def test_an_event_is_kept_and_starts_no_stopped_workflow(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save(on_event={"type": "paid"})
    await put(ada, mode="drain")

    answer = await ada.post("/events", {"type": "paid"})

    assert answer.status_code == 202
    (refused,) = answer.json()["refused"]
    assert (refused["workflow_id"], refused["code"]) == (workflow["id"], "kill_switch")
    assert runs_in(container) == 0


async def test_a_schedule_skips_its_fire_time_and_says_so(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}/schedules"
    await ada.post(path, {"cron": "* * * * *"})
    with Session(container.engine) as session:
        schedule = session.exec(select(Schedule)).one()
        schedule.next_fire_at = SystemClock().now() - timedelta(seconds=1)
        session.add(schedule)
        session.commit()
    await put(ada)

    duty = Schedules(container.engine, SystemClock(), load_catalogue(None), lambda _: None, 3600)
    counts = duty.run_once()

    (shown,) = (await ada.get(path)).json()["items"]
    assert counts == {"turns": 1, "runs": 0}
    assert "Stopped by a kill switch: the CRM burns" in shown["last_error"]
    assert runs_in(container) == 0


async def test_the_metrics_count_held_runs(ada: Caller, app: FastAPI, container: Container) -> None:
    del app
    workflow = await ada.save()
    run_id = (await ada.post(f"/workflows/{workflow['id']}/runs", {})).json()["run_id"]
    with Session(container.engine) as session:
        run = session.exec(select(Run).where(Run.id == run_id)).one()
        run.status, run.held_by, run.wake_at = RunStatus.PAUSED, new_id(), None
        session.add(run)
        session.commit()

    text = (await ada.http.get("/metrics")).text

    assert "automateos_runs_held 1.0" in text
    assert (await ada.get("/admin/status")).json()["held"] == 1


@pytest.fixture
def command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*words: str) -> Result:
        if words[0] == "stop-all":
            return CliRunner().invoke(stop_all_command, words[1:])
        return CliRunner().invoke(switch_command, words)

    return run


async def test_the_command_line_stops_and_lifts_while_the_api_may_be_away(
    ada: Caller, command: Callable[..., Result]
) -> None:
    stopped = command("stop-all", "--reason", "fire drill", "--minutes", "5")
    workflow = await ada.save()
    refused = await ada.post(f"/workflows/{workflow['id']}/runs", {})
    one = command("set", "node_type", "log", "--mode", "drain")
    listed = command("list")
    lifted = command("lift", "all")
    left = command("list")
    switch_id = left.stdout.split()[0]
    command("lift", switch_id)

    assert "fire drill" in stopped.stdout
    assert "fire drill" in refused.json()["detail"]
    assert "node_type log" in one.stdout
    assert len(listed.stdout.splitlines()) == 2
    assert lifted.exit_code == 0
    assert len(left.stdout.splitlines()) == 1
    assert command("list").stdout == "Nothing is stopped.\n"
    assert len(command("list", "--all").stdout.splitlines()) == 2


def test_the_command_line_refuses_in_one_sentence(command: Callable[..., Result]) -> None:
    for words in (("set", "user"), ("set", "all", "--reason", ""), ("lift", new_id())):
        assert isinstance(command(*words).exception, AutomateError)
