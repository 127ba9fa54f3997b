"""What people do is put on record, and who may read that."""

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.api.container import Container
from app.core.ids import new_id
from app.core.statuses import ApprovalStatus, Role
from app.db.session import transaction
from app.engine.approvals import store as approvals
from app.engine.audit.anchors import anchor_file
from app.engine.audit.appending import append
from app.engine.audit.entry import SYSTEM, Entry
from app.engine.duties.audit_anchors import AuditAnchors
from app.models import Approval, Run, User
from app.services import audit_log
from tests.integration.api.conftest import PASSWORD, Caller, Sign

Json = dict[str, Any]


async def _entries(caller: Caller, **wanted: str) -> list[Json]:
    answer = await caller.get("/admin/audit", params={"limit": "200", **wanted})
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items[::-1]


async def _actions(caller: Caller, **wanted: str) -> list[str]:
    return [entry["action"] for entry in await _entries(caller, **wanted)]


async def test_accounts_and_sign_ins_are_put_on_record(ada: Caller) -> None:
    wrong = {"username": "ada@example.com", "password": "not the one"}
    await ada.http.post("/api/v1/login", data=wrong)
    await ada.http.post("/api/v1/login", data={**wrong, "username": "eve@example.com"})
    new = {"current_password": PASSWORD, "new_password": "another good one"}
    answer = await ada.post("/me/password", new)
    again = Caller(ada.http, ada.email, {"Authorization": f"Bearer {answer.json()['access_token']}"})  # fmt: skip
    answer = await again.post("/me/sessions/revoke")
    again = Caller(ada.http, ada.email, {"Authorization": f"Bearer {answer.json()['access_token']}"})  # fmt: skip

    entries = await _entries(again)

    assert [(entry["action"], entry["actor"]["email"]) for entry in entries] == [
        ("user.registered", "ada@example.com"),
        ("login.succeeded", "ada@example.com"),
        ("login.failed", "ada@example.com"),
        ("login.failed", "eve@example.com"),
        ("password.changed", "ada@example.com"),
        ("session.started", "ada@example.com"),
        ("sessions.revoked", "ada@example.com"),
        ("session.started", "ada@example.com"),
    ]
    me = (await again.get("/me")).json()["id"]
    accounts = [entry["target_id"] for entry in entries if entry["target_kind"] == "user"]
    assert accounts == [me, me, "eve@example.com", me, me]
    assert entries[1]["actor"] == {"kind": "user", "id": me, "email": "ada@example.com", "api_key_id": None, "address": "127.0.0.1"}  # fmt: skip
    assert entries[2]["actor"]["id"] is None
    assert [entry["seq"] for entry in entries] == [*range(1, 9)]
    assert "good one" not in str(entries)


async def test_logins_that_the_throttle_refuses_are_not_put_on_record(
    http: httpx.AsyncClient, sign_up: Sign
) -> None:
    ada = await sign_up("ada@example.com")
    for _ in range(9):
        wrong = {"username": "bob@example.com", "password": "not the one"}
        await http.post("/api/v1/login", data=wrong)

    assert await _actions(ada, action="login.failed") == ["login.failed"] * 5


async def test_changes_to_workflows_and_schedules_are_put_on_record(ada: Caller) -> None:
    workflow = await ada.save(name="Bridge")
    path = f"/workflows/{workflow['id']}"
    changed = {"steps": [{"type": "log", "config": {"message": "other"}}]}
    await ada.call("PATCH", path, json={"definition": changed, "name": "Better", "enabled": False})
    await ada.call("PATCH", path, json={"enabled": True})
    await ada.call("PATCH", path, json={"enabled": True})
    await ada.post(f"{path}/webhook/rotate")
    schedule = (await ada.post(f"{path}/schedules", {"cron": "@daily"})).json()
    await ada.call("PATCH", f"{path}/schedules/{schedule['id']}", json={"cron": "@hourly"})
    await ada.call("DELETE", f"{path}/schedules/{schedule['id']}")
    await ada.call("DELETE", path)

    entries = await _entries(ada, owner_id=(await ada.get("/me")).json()["id"])
    told = [(e["action"], e["target_id"], e["details"]) for e in entries[2:]]

    assert [action for action, _, _ in told] == [
        "workflow.created",
        "workflow.disabled",
        "workflow.changed",
        "workflow.enabled",
        "workflow.webhook_rotated",
        "schedule.created",
        "schedule.changed",
        "schedule.deleted",
        "workflow.deleted",
    ]
    assert {target for action, target, _ in told if action.startswith("w")} == {workflow["id"]}
    assert told[2][2] == {"name": "Better", "fields": ["name", "version"], "version": 2}
    assert told[6][2]["fields"] == ["cron"]


async def test_what_is_refused_is_not_put_on_record(ada: Caller) -> None:
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}"

    refused = [
        await ada.call("DELETE", path, headers={"If-Match": '"99"'}),
        await ada.call("PATCH", path, json={"definition": {"steps": []}}),
    ]

    assert [answer.status_code for answer in refused] == [412, 422]
    assert await _actions(ada, action="workflow.") == ["workflow.created"]


async def test_controls_over_runs_are_put_on_record(ada: Caller) -> None:
    workflow = await ada.save()
    ids = [(await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"] for _ in range(4)]
    await ada.post(f"/runs/{ids[0]}/pause", {"reason": "to look at it"})
    await ada.post(f"/runs/{ids[0]}/resume")
    await ada.post(f"/runs/{ids[0]}/cancel")
    await ada.post(f"/runs/{ids[0]}/cancel")
    new = (await ada.post(f"/runs/{ids[0]}/replay")).json()["run_id"]
    await ada.post("/runs/cancel", {"workflow_id": workflow["id"], "reason": "wrong customer"})
    await ada.post("/runs/cancel", {"workflow_id": workflow["id"]})

    of_run = await _entries(ada, run_id=ids[0])
    (bulk,) = await _entries(ada, action="runs.")

    assert [(e["action"], e["target_id"], e["details"]) for e in of_run] == [
        ("run.paused", ids[0], {"reason": "to look at it"}),
        ("run.resumed", ids[0], {}),
        ("run.cancelled", ids[0], {}),
        ("run.replayed", ids[0], {"new_run_id": new, "version": 1}),
    ]
    assert bulk["details"] == {
        "filter": {"workflow_id": workflow["id"]},
        "matched": 4,
        "changed": 4,
        "reason": "wrong customer",
    }


def _approval(container: Container, run_id: str) -> str:
    with transaction(container.engine) as session:
        run = session.get_one(Run, run_id)
        approval = Approval(
            id=new_id(),
            owner_id=run.owner_id,
            workflow_id=run.workflow_id,
            run_id=run_id,
            path="ask",
            attempt=1,
            status=ApprovalStatus.PENDING,
            prompt="Ship?",
            approvers=["ada@example.com", "cfo@example.com"],
            min_approvals=2,
            allow_self=True,
            shown_hash="0" * 64,
            on_reject="fail",
            timeout_action="fail",
            created_at=container.clock.now(),
        )
        session.add(approval)
        session.flush()
        rows = [{"approval_id": approval.id, "approver": who} for who in approval.approvers]
        approvals.ADD_APPROVERS.run(session.connection(), rows)
    return approval.id


async def test_decisions_and_links_are_put_on_record(ada: Caller, container: Container) -> None:
    workflow = await ada.save()
    run_id = (await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    approval_id = _approval(container, run_id)
    link = await ada.post(f"/approvals/{approval_id}/links", {"approver": "cfo@example.com"})
    token = link.json()["url"].rpartition("/")[2]
    approved = await ada.post(f"/approvals/{approval_id}/approve")
    decided = await ada.http.post(f"/api/v1/approvals/links/{token}", json={"decision": "reject"})
    assert (approved.status_code, decided.status_code) == (200, 200), decided.text

    entries = await _entries(ada, run_id=run_id)
    bundle = orjson.loads((await ada.get(f"/runs/{run_id}/evidence/bundle")).content)

    who = [(e["action"], e["actor"]["kind"], e["actor"]["email"]) for e in entries]
    assert who == [
        ("approval_link.created", "user", "ada@example.com"),
        ("approval.approved", "user", "ada@example.com"),
        ("approval.rejected", "link", "cfo@example.com"),
    ]
    assert token not in str(entries)
    assert [entry["hash"] for entry in bundle["audit"]] == [entry["hash"] for entry in entries]
    assert "address" not in bundle["audit"][0]["actor"]
    assert bundle["audit_head"] == {"seq": entries[-1]["seq"], "hash": entries[-1]["hash"]}


async def test_the_log_can_be_filtered_and_read_page_by_page(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    workflows = [await bob.save(name=str(n)) for n in range(3)]
    bob_id = (await bob.get("/me")).json()["id"]
    everything = await _entries(ada)
    middle = everything[5]["at"]

    pages: list[list[int]] = []
    cursor = None
    while cursor or not pages:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await ada.get("/admin/audit", params=query)).json()
        pages.append([entry["seq"] for entry in answer["items"]])
        cursor = answer["next_cursor"]

    assert pages == [[7, 6], [5, 4], [3, 2], [1]]
    assert await _actions(ada, actor=bob_id) == ["login.succeeded", *["workflow.created"] * 3]
    assert len(await _entries(ada, actor="BOB@example.com")) == 5
    assert await _actions(ada, target_kind="workflow") == ["workflow.created"] * 3
    assert len(await _entries(ada, target_id=workflows[1]["id"])) == 1
    assert len(await _entries(ada, action="login.")) == 2
    since, until = await _entries(ada, since=middle), await _entries(ada, until=middle)
    assert [entry["seq"] for entry in until + since] == [1, 2, 3, 4, 5, 6, 7]
    assert since[0]["at"] == middle
    assert await _entries(ada, since="2099-01-01T00:00:00Z") == []
    assert len(await _entries(ada, until="2099-01-01T00:00:00Z")) == 7


@pytest.mark.parametrize(
    "query",
    ["actor=nobody", "action=%25", "cursor=AAAA", "cursor=LTE", "owner_id=7", "since=yesterday"],
)
async def test_a_filter_that_does_not_hold_is_refused(ada: Caller, query: str) -> None:
    answer = await ada.get(f"/admin/audit?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_an_export_is_refused_before_it_begins(ada: Caller) -> None:
    answer = await ada.get("/admin/audit/export?actor=nobody")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_everybody_sees_what_concerns_them_and_no_more(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    await ada.save()
    await bob.save()
    bob_id = (await bob.get("/me")).json()["id"]
    with transaction(container.engine) as session:
        append(session.connection(), [Entry(SYSTEM, "kill_switch.set", "kill_switch", "all"), Entry(SYSTEM, "credential.used", "credential", "x", bob_id)])  # fmt: skip

    answer = (await bob.get("/audit")).json()

    assert [entry["action"] for entry in answer["items"]] == [
        "credential.used",
        "workflow.created",
        "login.succeeded",
        "user.registered",
    ]
    assert {entry["owner_id"] for entry in answer["items"]} == {bob_id}
    assert [entry["actor"]["address"] for entry in answer["items"]][1:] == ["127.0.0.1"] * 3
    assert len((await bob.get("/audit", params={"action": "login."})).json()["items"]) == 1


@pytest.mark.parametrize("path", ["/admin/audit", "/admin/audit/export", "/admin/audit/verify"])
@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER, Role.OPERATOR])
async def test_the_whole_log_is_for_operators(
    sign_up: Sign, container: Container, path: str, role: Role
) -> None:
    bob = await sign_up("bob@example.com")
    with transaction(container.engine) as session:
        session.exec(select(User).where(col(User.email) == bob.email)).one().role = role

    answer = await bob.get(path)

    assert answer.status_code == (200 if role is Role.OPERATOR else 403)


async def test_an_export_holds_every_entry_in_order(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "ROWS_AT_ONCE", 2)
    for n in range(5):
        await ada.save(name=str(n))

    answer = await ada.get("/admin/audit/export")
    some = await ada.get("/admin/audit/export", params={"action": "workflow."})

    lines = [orjson.loads(line) for line in answer.text.splitlines()]
    assert lines == await _entries(ada)
    assert answer.headers["content-type"] == "application/jsonl"
    assert [orjson.loads(line)["seq"] for line in some.text.splitlines()] == [3, 4, 5, 6, 7]


async def test_a_check_says_that_all_is_well_or_what_is_not(
    ada: Caller, container: Container
) -> None:
    for n in range(3):
        await ada.save(name=str(n))
    AuditAnchors(container.engine, anchor_file(container.settings), {}).run_once()
    well = (await ada.get("/admin/audit/verify")).json()
    with container.engine.begin() as connection:
        on_postgres = connection.dialect.name == "postgresql"
        off = "ALTER TABLE audit_log DISABLE TRIGGER ALL" if on_postgres else "DROP TRIGGER audit_log_no_update"  # fmt: skip
        connection.execute(text(off))
        connection.execute(text("UPDATE audit_log SET actor_email = 'bob@x.org' WHERE seq = 4"))

    ill = (await ada.get("/admin/audit/verify")).json()

    assert well.pop("checked_at").endswith("Z")
    assert well == {"valid": True, "entries": 5, "first_bad": None, "anchored_seq": 5}
    assert (ill["valid"], ill["entries"]) == (False, 3)
    assert (ill["first_bad"]["seq"], ill["first_bad"]["reason"]) == (4, "changed")


async def test_the_setting_moves_the_anchors(container: Container, tmp_path: Path) -> None:
    moved = container.settings.model_copy(update={"audit_anchor": tmp_path / "far" / "a.jsonl"})

    assert anchor_file(container.settings).path == tmp_path / "audit-anchors.jsonl"
    assert anchor_file(moved).path == tmp_path / "far" / "a.jsonl"
