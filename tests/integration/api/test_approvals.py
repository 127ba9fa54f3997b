"""People decide, through the API, while a worker drives the runs: on either database."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import Session, col, select

from app.api.container import Container
from app.core.clock import SystemClock
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Control
from app.engine.delivery.dispatch import Dispatcher
from app.engine.duties.approvals import ApprovalTimeouts
from app.engine.evidence.canonical import sha256_of
from app.models import ApprovalLink, Evidence, Wait
from tests.integration.api.conftest import CFO, Caller, Sign

pytestmark = pytest.mark.usefixtures("worker")

PATIENCE_SECONDS = 20.0
CEO = "ceo@example.com"
FORM = {
    "type": "object",
    "required": ["cost_centre"],
    "properties": {"cost_centre": {"type": "string", "pattern": "^[0-9]+$"}},
}


@dataclass
class SetClock:
    """A clock that the test sets."""

    time: datetime

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


async def _until(ready: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await ready():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def _run(caller: Caller, run_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until a run stands somewhere; returns it."""
    run: dict[str, Any] = {}

    async def stands_there() -> bool:
        run.update((await caller.get(f"/runs/{run_id}")).json())
        return run["status"] in statuses

    await _until(stands_there)
    return run


async def _ended(caller: Caller, run_id: str) -> dict[str, Any]:
    return await _run(caller, run_id, "succeeded", "failed", "cancelled", "timed_out")


async def _ask(owner: Caller, *after: Mapping[str, Any], **config: Any) -> dict[str, Any]:
    """Start a run that asks; returns the approval."""
    step = {
        "id": "sign_off",
        "type": "approval",
        "config": {"approvers": [CFO], "prompt": "Ship ${{ input.order }}?"} | config,
    }
    workflow = await owner.save(definition={"steps": [step, *after]})
    started = await owner.post(f"/workflows/{workflow['id']}/runs", {"input": {"order": "A-1"}})
    run = await _run(owner, started.json()["run_id"], "waiting")
    approval_id = run["waiting_for"][0]["approval_id"]
    return await _read(owner, approval_id)


async def _read(caller: Caller, approval_id: str) -> dict[str, Any]:
    answer = await caller.get(f"/approvals/{approval_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _inbox(caller: Caller) -> list[str]:
    answer = await caller.get("/approvals?status=pending")
    return [item["id"] for item in answer.json()["items"]]


def _after(port: str) -> dict[str, Any]:
    config = {"message": "${{ steps.sign_off.output.decisions[0].by }}"}
    return {"id": port, "type": "log", "config": config, "depends_on": [f"sign_off.{port}"]}


def _duty(container: Container, now: datetime) -> ApprovalTimeouts:
    def hand_on(run_ids: Sequence[str]) -> None:
        Dispatcher(container.redis).dispatch(run_ids)

    return ApprovalTimeouts(container.engine, SetClock(now), hand_on)


async def test_an_approver_approves_and_the_run_goes_on(
    ada: Caller, cfo: Caller, container: Container
) -> None:
    approval = await _ask(ada, _after("approved"))
    inbox = await _inbox(cfo)

    answer = await cfo.post(f"/approvals/{approval['id']}/approve", {"comment": "Within budget"})
    run = await _ended(ada, approval["run_id"])

    assert inbox == [approval["id"]]
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    assert run["status"] == "succeeded"
    output = run["steps"][0]["output"]
    assert (output["decision"], output["timed_out"]) == ("approved", False)
    (decision,) = output["decisions"]
    assert (decision["by"], decision["comment"]) == (CFO, "Within budget")
    assert await _inbox(cfo) == []
    with Session(container.engine) as session:
        (evidence,) = session.exec(select(Evidence)).all()
        assert session.exec(select(Wait)).all() == []
    assert (evidence.kind, evidence.path) == ("approval", "sign_off")
    assert evidence.content["decisions"][0]["by"] == CFO
    assert evidence.sha256 == sha256_of(evidence.content)


async def test_an_approval_shows_what_it_asks_and_its_hash(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada, timeout_seconds=3600, form=FORM)

    seen = await _read(cfo, approval["id"])
    run = (await ada.get(f"/runs/{approval['run_id']}")).json()

    names = ("id", "workflow_id", "run_id", "step", "prompt", "form")
    assert seen["prompt"] == "Ship A-1?"
    assert seen["shown_hash"] == sha256_of({name: seen[name] for name in names})
    assert (seen["requested_by"], run["started_by"]) == (ada.email, ada.email)
    (waiting,) = run["waiting_for"]
    assert (waiting["kind"], waiting["prompt"]) == ("approval", "Ship A-1?")
    assert waiting["until"][:19] == seen["due_at"][:19]
    assert run["steps"][0]["status"] == "waiting"


async def test_a_rejection_fails_the_step(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada, _after("approved"))

    answer = await cfo.post(f"/approvals/{approval['id']}/reject", {"comment": "Too dear"})
    run = await _ended(ada, approval["run_id"])

    assert answer.json()["status"] == "rejected"
    assert (run["status"], run["error"]["code"]) == ("failed", "approval_rejected")
    assert "Too dear" in run["error"]["message"]
    assert run["error"]["data"]["decisions"][0]["by"] == CFO


@pytest.mark.parametrize("config", [{}, {"on_reject": "port"}])
async def test_a_rejection_leaves_by_the_port_where_that_is_wanted(
    ada: Caller, cfo: Caller, config: dict[str, Any]
) -> None:
    after = [] if config else [_after("rejected")]
    approval = await _ask(ada, *after, **config)

    await cfo.post(f"/approvals/{approval['id']}/reject")
    run = await _ended(ada, approval["run_id"])

    assert run["status"] == "succeeded"
    assert run["steps"][0]["output"]["decision"] == "rejected"
    assert [step["status"] for step in run["steps"]] == ["succeeded"] * (1 + len(after))


async def test_several_must_approve_each_once(ada: Caller, cfo: Caller, sign_up: Sign) -> None:
    ceo = await sign_up(CEO)
    approval = await _ask(ada, approvers=[CFO, CEO, "x@example.com"], min_approvals=2)
    address = f"/approvals/{approval['id']}/approve"

    first = await cfo.post(address)
    again = await cfo.post(address)
    inboxes = [await _inbox(cfo), await _inbox(ceo)]
    second = await ceo.post(address)
    late = await ceo.post(address)
    run = await _ended(ada, approval["run_id"])

    assert (first.status_code, first.json()["status"]) == (200, "pending")
    assert again.status_code == 409
    assert inboxes == [[], [approval["id"]]]
    assert (second.status_code, second.json()["status"]) == (200, "approved")
    assert late.status_code == 409
    assert [said["by"] for said in run["steps"][0]["output"]["decisions"]] == [CFO, CEO]


async def test_strangers_do_not_learn_of_it_and_the_owner_does_not_decide(
    ada: Caller, sign_up: Sign
) -> None:
    eve = await sign_up("eve@example.com")
    approval = await _ask(ada)
    address = f"/approvals/{approval['id']}"

    by_eve = [await eve.get(address), await eve.post(f"{address}/approve")]
    by_ada = [await ada.get(address), await ada.post(f"{address}/approve")]

    assert [answer.status_code for answer in by_eve] == [404, 404]
    assert [answer.status_code for answer in by_ada] == [200, 403]
    assert (await _inbox(eve), await _inbox(ada)) == ([], [])


async def test_a_role_is_asked_and_who_started_the_run_is_left_out(
    ada: Caller, cfo: Caller
) -> None:
    own = await _ask(ada, approvers=["role:admin"])
    allowed = await _ask(ada, approvers=["role:admin"], allow_self=True)
    by_member = await _ask(cfo, approvers=["role:admin"])

    inbox = await _inbox(ada)
    refused = await ada.post(f"/approvals/{own['id']}/approve")
    taken = [
        await ada.post(f"/approvals/{approval['id']}/approve") for approval in (allowed, by_member)
    ]

    assert inbox == [by_member["id"], allowed["id"]]
    assert refused.status_code == 403
    assert "allow_self" in refused.json()["detail"]
    assert [answer.status_code for answer in taken] == [200, 200]


async def test_a_form_must_be_filled_in_to_approve(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada, form=FORM)
    address = f"/approvals/{approval['id']}/approve"

    empty = await cfo.post(address)
    wrong = await cfo.post(address, {"form": {"cost_centre": "x"}})
    right = await cfo.post(address, {"form": {"cost_centre": "4711"}})

    run = await _ended(ada, approval["run_id"])
    assert [answer.status_code for answer in (empty, wrong, right)] == [422, 422, 200]
    assert wrong.json()["errors"][0]["pointer"] == "/form/cost_centre"
    assert run["steps"][0]["output"]["decisions"][0]["form"] == {"cost_centre": "4711"}


async def test_a_form_where_none_is_asked_for_is_refused(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada)

    answer = await cfo.post(f"/approvals/{approval['id']}/approve", {"form": {"a": 1}})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/form")


async def test_a_decision_on_something_else_is_refused(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada)
    address = f"/approvals/{approval['id']}/approve"

    other = await cfo.post(address, {"shown_hash": "0" * 64})
    same = await cfo.post(address, {"shown_hash": approval["shown_hash"]})

    assert (other.status_code, same.status_code) == (409, 200)


async def test_of_twenty_decisions_at_once_one_wins(ada: Caller, cfo: Caller) -> None:
    approval = await _ask(ada)
    ways = ("approve", "reject") * 10

    answers = await asyncio.gather(
        *(cfo.post(f"/approvals/{approval['id']}/{way}") for way in ways)
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    run = await _ended(ada, approval["run_id"])
    assert run["status"] == ("succeeded" if winner["status"] == "approved" else "failed")


async def test_a_link_decides_once_in_its_approvers_name(ada: Caller) -> None:
    approval = await _ask(ada, approvers=["guest@example.org", CFO], form=FORM)
    body = {"approver": "Guest@Example.org"}
    made = (await ada.post(f"/approvals/{approval['id']}/links", body)).json()

    shown = [await ada.http.get(made["url"]) for _ in range(2)]
    decision = {
        "decision": "approve",
        "form": {"cost_centre": "1"},
        "shown_hash": shown[0].json()["shown_hash"],
    }
    bad = await ada.http.post(made["url"], json={"decision": "approve", "form": {}})
    answers = await asyncio.gather(*(ada.http.post(made["url"], json=decision) for _ in range(5)))

    assert made["url"].startswith("http://test/api/v1/approvals/links/")
    assert [answer.json()["approver"] for answer in shown] == ["guest@example.org"] * 2
    assert "approvers" not in shown[0].json()
    assert bad.status_code == 422
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 4
    assert (await ada.http.get(made["url"])).status_code == 409
    (said,) = (await _read(ada, approval["id"]))["decisions"]
    assert (said["by"], said["via"]) == ("guest@example.org", "link")
    assert (await _ended(ada, approval["run_id"]))["status"] == "succeeded"


async def test_links_are_the_owners_to_make_and_for_approvers_alone(
    ada: Caller, cfo: Caller, container: Container
) -> None:
    approval = await _ask(ada, approvers=[CFO, "role:admin"])
    address = f"/approvals/{approval['id']}/links"

    by_approver = await cfo.post(address, {"approver": CFO})
    for_nobody = await ada.post(address, {"approver": "guest@example.org"})
    made = await ada.post(address, {"approver": CFO, "expires_in_seconds": 60})
    with container.engine.begin() as connection:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        connection.execute(update(ApprovalLink).values(expires_at=past))
        stored = connection.execute(select(col(ApprovalLink.token_hash))).scalars().one()
    expired = await ada.http.post(made.json()["url"], json={"decision": "approve"})
    unknown = await ada.http.get("/api/v1/approvals/links/nope")

    assert (by_approver.status_code, for_nobody.status_code) == (403, 422)
    assert made.status_code == 201
    assert len(made.json()["url"].rpartition("/")[2]) >= 43
    assert stored not in made.json()["url"]
    assert (expired.status_code, unknown.status_code) == (409, 404)
    assert "expired" in expired.json()["detail"]


async def test_without_decisions_further_people_are_asked_and_then_it_fails(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    ceo = await sign_up(CEO)
    approval = await _ask(ada, timeout_seconds=3600, timeout_action="escalate", escalate_to=[CEO])
    due = datetime.fromisoformat(approval["due_at"])

    early = _duty(container, due - timedelta(seconds=1)).run_once()
    before = await _inbox(ceo)
    first = _duty(container, due).run_once()
    escalated = await _read(ceo, approval["id"])
    run = (await ada.get(f"/runs/{approval['run_id']}")).json()
    again = _duty(container, due + timedelta(minutes=59)).run_once()
    last = _duty(container, due + timedelta(hours=1)).run_once()
    late = await ceo.post(f"/approvals/{approval['id']}/approve")

    assert [counts["approvals"] for counts in (early, first, again, last)] == [0, 1, 0, 1]
    assert (before, escalated["approvers"]) == ([], [CFO, CEO])
    assert datetime.fromisoformat(escalated["due_at"]) == due + timedelta(hours=1)
    assert run["waiting_for"][0]["approvers"] == [CFO, CEO]
    assert run["waiting_for"][0]["until"] > approval["due_at"]
    assert late.status_code == 409
    ended = await _ended(ada, approval["run_id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "approval_timed_out")
    assert (await _read(ada, approval["id"]))["status"] == "expired"


async def test_who_is_asked_after_the_escalation_may_decide(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    ceo = await sign_up(CEO)
    approval = await _ask(ada, timeout_seconds=3600, timeout_action="escalate", escalate_to=[CEO])
    too_early = await ceo.post(f"/approvals/{approval['id']}/approve")
    _duty(container, datetime.fromisoformat(approval["due_at"])).run_once()

    answer = await ceo.post(f"/approvals/{approval['id']}/approve")

    assert (too_early.status_code, answer.status_code) == (404, 200)
    assert (await _ended(ada, approval["run_id"]))["status"] == "succeeded"


async def test_two_workers_do_the_time_out_once(ada: Caller, container: Container) -> None:
    approval = await _ask(ada, timeout_seconds=3600, timeout_action="approve")
    due = datetime.fromisoformat(approval["due_at"])

    counts = await asyncio.gather(
        *(asyncio.to_thread(_duty(container, due).run_once) for _ in range(4))
    )

    run = await _ended(ada, approval["run_id"])
    assert sum(one["approvals"] for one in counts) == 1
    assert run["steps"][0]["output"] == {
        "decision": "approved",
        "decisions": [],
        "timed_out": True,
    }


async def test_nothing_is_asked_any_more_once_the_run_is_cancelled(
    ada: Caller, cfo: Caller, container: Container
) -> None:
    approval = await _ask(ada, timeout_seconds=3600)
    link = await ada.post(f"/approvals/{approval['id']}/links", {"approver": CFO})
    with container.engine.begin() as connection:
        control = Control("cancel", ada.email, SystemClock().now())
        cancel_runs(connection, [approval["run_id"]], control)

    answer = await cfo.post(f"/approvals/{approval['id']}/approve")
    by_link = await ada.http.post(link.json()["url"], json={"decision": "approve"})
    swept = _duty(container, datetime.fromisoformat(approval["due_at"])).run_once()

    assert (answer.status_code, by_link.status_code) == (409, 409)
    assert "cancelled" in answer.json()["detail"]
    assert (await _read(ada, approval["id"]))["status"] == "cancelled"
    assert (await _inbox(cfo), swept["approvals"]) == ([], 0)


async def test_a_form_from_data_that_is_no_schema_fails_the_step(ada: Caller) -> None:
    config = {"approvers": [CFO], "prompt": "?", "form": "${{ input.form }}"}
    workflow = await ada.save(definition={"steps": [{"type": "approval", "config": config}]})
    body = {"input": {"form": {"type": "objekt"}}}

    started = await ada.post(f"/workflows/{workflow['id']}/runs", body)
    run = await _ended(ada, started.json()["run_id"])

    assert (run["status"], run["error"]["code"]) == ("failed", "invalid_config")


async def test_the_inbox_comes_in_pages_newest_first(ada: Caller, cfo: Caller) -> None:
    asked = [(await _ask(ada))["id"] for _ in range(3)]

    first = (await cfo.get("/approvals?status=pending&limit=2")).json()
    rest = (await cfo.get(f"/approvals?limit=2&cursor={first['next_cursor']}")).json()

    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert ids == asked[::-1]
    assert rest["next_cursor"] is None


async def test_who_started_the_parent_does_not_decide_in_its_child(ada: Caller) -> None:
    config = {"approvers": ["role:admin"], "prompt": "?"}
    child = await ada.save(
        name="Child", definition={"steps": [{"type": "approval", "config": config}]}
    )
    step = {"type": "run_workflow", "config": {"workflow": child["id"]}}
    parent = await ada.save(name="Parent", definition={"steps": [step]})
    await ada.post(f"/workflows/{parent['id']}/runs")

    async def asks() -> bool:
        return bool((await ada.get("/approvals")).json()["items"])

    await _until(asks)
    (approval,) = (await ada.get("/approvals")).json()["items"]
    answer = await ada.post(f"/approvals/{approval['id']}/approve")

    assert approval["requested_by"] == ada.email
    assert answer.status_code == 403


async def _team(owner: Caller, name: str, *emails: str) -> str:
    team_id: str = (await owner.post("/teams", {"name": name})).json()["id"]
    for email in emails:
        body = {"role": "viewer"}
        await owner.call("PUT", f"/teams/{team_id}/members/{email}", json=body)
    return team_id


async def test_a_team_is_asked_and_each_of_its_members_may_decide_whatever_it_is_called_later(
    ada: Caller, cfo: Caller, sign_up: Sign
) -> None:
    ceo = await sign_up(CEO)
    team_id = await _team(ada, "Finance", CFO)
    approval = await _ask(ada, approvers=["team:FINANCE"])
    await ada.call("PATCH", f"/teams/{team_id}", json={"name": "Money"})

    stranger = await ceo.post(f"/approvals/{approval['id']}/approve")
    starter = await ada.post(f"/approvals/{approval['id']}/approve")
    inbox = await _inbox(cfo)
    taken = await cfo.post(f"/approvals/{approval['id']}/approve")

    assert approval["approvers"] == ["team:finance"]
    assert inbox == [approval["id"]]
    statuses = [answer.status_code for answer in (stranger, starter, taken)]
    assert statuses == [404, 403, 200]


async def test_a_team_is_asked_by_an_escalation(
    ada: Caller, cfo: Caller, container: Container
) -> None:
    await _team(ada, "Board", CFO)
    asked = {"approvers": [CEO], "timeout_seconds": 3600, "timeout_action": "escalate"}
    approval = await _ask(ada, **asked, escalate_to=["team:board"])
    _duty(container, datetime.fromisoformat(approval["due_at"])).run_once()

    assert await _inbox(cfo) == [approval["id"]]


async def test_teams_and_roles_that_there_are_not_are_refused_when_the_workflow_is_saved(
    ada: Caller,
) -> None:
    await ada.call("DELETE", f"/teams/{await _team(ada, 'Gone')}")
    config = {"approvers": [CFO, "team:gone", "role:admin", "role:king"], "prompt": "Ship it?"}
    asking = {"id": "ask", "type": "wait_for_approval", "config": config}
    late = {"timeout_seconds": 5, "timeout_action": "escalate", "escalate_to": ["team:nobody"]}
    inner = {"id": "in", "type": "approval", "config": config | late | {"approvers": [CFO]}}
    loop = {"id": "each", "type": "for_each", "config": {"items": "input"}, "steps": [inner]}
    draft = {"name": "Test", "definition": {"steps": [asking, loop]}}

    problems = (await ada.post("/workflows", draft)).json()["errors"]

    assert [(problem["pointer"], problem["code"]) for problem in problems] == [
        ("/definition/steps/0/config/approvers/3", "unknown_role"),
        ("/definition/steps/0/config/approvers/1", "unknown_team"),
        ("/definition/steps/1/steps/0/config/escalate_to/0", "unknown_team"),
    ]


async def test_a_team_may_come_out_of_the_input(ada: Caller) -> None:
    config = {"approvers": ["team:${{ input.team }}"], "prompt": "Ship it?"}
    draft = {"name": "Test", "definition": {"steps": [{"type": "approval", "config": config}]}}

    saved = await ada.post("/workflows", draft)

    assert saved.status_code == 201, saved.text


async def test_editors_make_links_and_members_read(ada: Caller, cfo: Caller, sign_up: Sign) -> None:
    ceo = await sign_up(CEO)
    approval = await _ask(ada, approvers=["boss@example.com"])
    at, link = f"/approvals/{approval['id']}", {"approver": "boss@example.com"}
    for role, somebody in (("viewer", CFO), ("editor", CEO)):
        shares = f"/workflows/{approval['workflow_id']}/shares"
        await ada.call("PUT", shares, json={"user": somebody, "role": role})

    read = [(await who.get(at)).status_code for who in (cfo, ceo)]
    made = [(await who.post(f"{at}/links", link)).status_code for who in (cfo, ceo)]

    assert (read, made) == ([200, 200], [403, 201])


async def _ask_by_policy(owner: Caller, start: str, *approvers: str) -> dict[str, Any]:
    """Have a policy of the platform ask about a run, started by its `webhook` or by `hand`; returns the run."""
    rules = {"needs_approval": {"node_types": ["log"], "approvers": [*approvers]}}
    assert (await owner.call("PUT", "/admin/policies", json=rules)).status_code == 200
    workflow = await owner.save(definition={"steps": [{"type": "log", "config": {"message": "x"}}]})
    run: dict[str, Any] = {}

    async def asks() -> bool:
        if start == "webhook":
            started = await owner.http.post(workflow["webhook_url"], json={})
        else:
            started = await owner.post(f"/workflows/{workflow['id']}/runs")
        run.update(await _run(owner, started.json()["run_id"], "waiting", "succeeded"))
        return bool(run["status"] == "waiting")

    await _until(asks)  # once the worker knows the policy
    return run


async def test_nobody_makes_links_to_what_a_policy_asks_for(ada: Caller, cfo: Caller) -> None:
    run = await _ask_by_policy(ada, "hand", CFO)
    approval = f"/approvals/{run['waiting_for'][0]['approval_id']}"

    link = await ada.post(f"{approval}/links", {"approver": CFO})

    assert link.status_code == 403, link.text
    assert (await cfo.post(f"{approval}/approve")).status_code == 200
    assert (await _ended(ada, run["id"]))["status"] == "succeeded"


async def test_who_could_have_called_the_webhook_does_not_decide_what_a_policy_asks(
    ada: Caller, cfo: Caller, sign_up: Sign
) -> None:
    ceo, other = await sign_up(CEO), await ada.save(name="Other")
    shares = f"/workflows/{other['id']}/shares"
    await ada.call("PUT", shares, json={"user": CEO, "role": "editor"})
    await ada.call("PUT", shares, json={"user": CFO, "role": "runner"})
    run = await _ask_by_policy(ada, "webhook", ada.email, CEO, CFO)
    approval_id = run["waiting_for"][0]["approval_id"]

    inboxes = [await _inbox(who) for who in (ada, ceo, cfo)]
    answers = [await who.post(f"/approvals/{approval_id}/approve") for who in (ada, ceo, cfo)]

    assert run["started_by"] is None
    assert [approval_id in inbox for inbox in inboxes] == [False, False, True]
    assert [answer.status_code for answer in answers] == [403, 403, 200]
    assert "Nobody knows who started this run" in answers[0].json()["detail"]
    assert (await _ended(ada, run["id"]))["status"] == "succeeded"


async def test_a_step_of_the_workflow_may_ask_who_could_have_called_its_webhook(
    ada: Caller,
) -> None:
    step = {"type": "approval", "config": {"approvers": [ada.email], "prompt": "Ship it?"}}
    workflow = await ada.save(definition={"steps": [step]})
    started = await ada.http.post(workflow["webhook_url"], json={})
    run = await _run(ada, started.json()["run_id"], "waiting")
    approval_id = run["waiting_for"][0]["approval_id"]

    inbox = await _inbox(ada)
    answer = await ada.post(f"/approvals/{approval_id}/approve")

    assert (inbox, answer.status_code) == ([approval_id], 200)
