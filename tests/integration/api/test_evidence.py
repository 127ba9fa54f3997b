"""On what grounds runs are started, who may read them, and what they can show for themselves."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from app.api.container import Container
from app.core.ids import new_id
from app.core.statuses import ApprovalStatus, AttemptStatus
from app.db.session import transaction
from app.engine.evidence.bundle import faults_of
from app.engine.evidence.canonical import sha256_of
from app.engine.evidence.keeping import NewEvidence, keep
from app.models import Approval, ApprovalDecision, Run, RunLog, StepAttempt
from app.services import evidence as evidence_service
from tests.integration.api.conftest import DEFINITION, Caller, Sign

BASIS = {"authority": "Court order 7", "classification": "secret"}
GROUNDS = {
    "assumptions": ["The replica is fresh."],
    "data_scope": "Orders of EU customers",
    "legal_basis": {**BASIS, "authorized_users": ["Bob@Example.com"]},
}


async def _start(caller: Caller, workflow: dict[str, Any], **body: Any) -> str:
    answer = await caller.post(f"/workflows/{workflow['id']}/runs", body)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def _record(container: Container, run_id: str) -> None:
    """Write what a worker would: an attempt with its input, log lines, evidence, and an approval with its decision."""
    now = container.clock.now()
    with transaction(container.engine) as session:
        session.add(
            StepAttempt(
                run_id=run_id,
                path="check",
                attempt=1,
                seq=1,
                type="log",
                status=AttemptStatus.SUCCEEDED,
                input={"message": "Hi"},
                wait={"kind": "timer"},
                started_at=now,
            )
        )
        for line, (path, text) in enumerate([("each", "Begun 100%"), ("each[0].send", "begun_one"), ("eachother", "Done")]):  # fmt: skip
            session.add(RunLog(run_id=run_id, path=path, attempt=1, line=line, level="info", message=text, at=now))  # fmt: skip
        approval = Approval(
            id=new_id(),
            owner_id=new_id(),
            workflow_id=new_id(),
            run_id=run_id,
            path="ask",
            attempt=1,
            status=ApprovalStatus.APPROVED,
            prompt="Ship?",
            approvers=["cfo@example.com"],
            shown_hash="0" * 64,
            on_reject="fail",
            created_at=now,
        )
        session.add(approval)
        session.add(
            ApprovalDecision(
                approval_id=approval.id,
                by="cfo@example.com",
                decision="approve",
                comment="Yes",
                shown_hash="0" * 64,
                via="api",
                at=now,
            )
        )
    with container.engine.begin() as connection:
        keep(
            connection,
            [
                NewEvidence(run_id, "check", 1, "note", {"n": n}, now + timedelta(seconds=n))
                for n in range(3)
            ],
        )


async def test_the_grounds_of_a_run_are_kept_and_shown(ada: Caller, container: Container) -> None:
    workflow = await ada.save()
    run_id = await _start(ada, workflow, context=GROUNDS)
    plain = await _start(ada, workflow)
    _record(container, run_id)

    run = (await ada.get(f"/runs/{run_id}")).json()
    lines = (await ada.get(f"/runs/{run_id}/logs")).json()["items"]

    kept = GROUNDS | {"legal_basis": {**BASIS, "authorized_users": ["bob@example.com"]}}
    assert run["context"] == kept
    assert [line["context"] for line in lines] == [kept] * 3
    assert (await ada.get(f"/runs/{plain}")).json()["context"] is None


async def test_a_run_without_required_grounds_is_refused(ada: Caller) -> None:
    rules = {
        "required": ["legal_basis", "data_scope", "assumptions"],
        "defaults": {"data_scope": ["EU"]},
    }
    workflow = await ada.save(context=rules)
    address = f"/workflows/{workflow['id']}/runs"

    refused = await ada.post(address, {"context": {"assumptions": []}})
    by_webhook = await ada.http.post(workflow["webhook_url"], json={})
    run_id = await _start(ada, workflow, context={"assumptions": ["a"], "legal_basis": BASIS})

    for answer in (refused, by_webhook):
        assert answer.status_code == 422
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
            ("/context/legal_basis", "missing_context"),
            ("/context/assumptions", "missing_context"),
        ]
    assert "context.defaults" in by_webhook.json()["errors"][0]["detail"]
    context = (await ada.get(f"/runs/{run_id}")).json()["context"]
    assert (context["data_scope"], context["assumptions"]) == (["EU"], ["a"])
    assert [run["id"] for run in (await ada.get("/runs")).json()["items"]] == [run_id]


async def test_defaults_make_webhooks_possible(ada: Caller) -> None:
    rules = {"required": ["legal_basis"], "defaults": {"legal_basis": BASIS}}
    workflow = await ada.save(context=rules)

    by_webhook = (await ada.http.post(workflow["webhook_url"], json={})).json()["run_id"]

    run = (await ada.get(f"/runs/{by_webhook}")).json()
    assert run["context"] == {"legal_basis": {**BASIS, "authorized_users": []}}


async def test_what_a_workflow_requires_can_be_read_and_changed(ada: Caller) -> None:
    workflow = await ada.save(context={"required": ["data_scope"]})
    address = f"/workflows/{workflow['id']}"

    untouched = (await ada.call("PATCH", address, json={"description": "x"})).json()
    gone = (await ada.call("PATCH", address, json={"context": None})).json()

    assert untouched["context"]["required"] == ["data_scope"]
    assert gone["context"] is None
    assert (await ada.post(f"{address}/runs")).status_code == 202
    wrong = await ada.call("PATCH", address, json={"context": {"required": ["reason"]}})
    assert wrong.json()["errors"][0]["pointer"] == "/context/required/0"


async def test_grounds_that_do_not_fit_are_named(ada: Caller) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"legal_basis": {"authority": "x"}}, "/legal_basis/classification"),
        (
            {"legal_basis": {**BASIS, "authorized_users": ["bob"]}},
            "/legal_basis/authorized_users/0",
        ),
        ({"data_scope": 5}, "/data_scope"),
        ({"data_scope": []}, "/data_scope"),
        ({"data_scope": ["a", ""]}, "/data_scope"),
        ({"assumptions": "a"}, "/assumptions"),
        ({"reason": "a"}, "/reason"),
    ]
    address = f"/workflows/{(await ada.save())['id']}/runs"

    answers = [await ada.post(address, {"context": context}) for context, _ in wrong]

    pointers = [[error["pointer"] for error in answer.json()["errors"]] for answer in answers]
    assert [answer.status_code for answer in answers] == [422] * len(wrong)
    assert pointers == [[f"/context{pointer}"] for _, pointer in wrong]


async def test_those_who_are_named_may_read_a_run_and_nobody_else(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob, eve = await sign_up("bob@example.com"), await sign_up("eve@example.com")
    run_id = await _start(ada, await ada.save(), context=GROUNDS)
    _record(container, run_id)
    places = (
        "",
        "/logs",
        "/evidence",
        "/evidence/bundle",
        "/steps/check/attempts",
    )

    statuses = {
        caller.email: {(await caller.get(f"/runs/{run_id}{place}")).status_code for place in places}
        for caller in (ada, bob, eve)
    }

    assert statuses == {ada.email: {200}, bob.email: {200}, eve.email: {404}}
    assert (await bob.get("/runs")).json()["items"] == []
    assert (await bob.get(f"/runs/{run_id}")).json()["context"] == (
        await ada.get(f"/runs/{run_id}")
    ).json()["context"]


async def test_attempts_show_their_input_and_what_they_wait_for(
    ada: Caller, container: Container
) -> None:
    run_id = await _start(ada, await ada.save())
    _record(container, run_id)

    (attempt,) = (await ada.get(f"/runs/{run_id}/steps/check/attempts")).json()["items"]

    assert (attempt["input"], attempt["wait"]) == ({"message": "Hi"}, {"kind": "timer"})


async def test_log_lines_are_found_by_text_and_by_a_loop(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, await ada.save())
    _record(container, run_id)

    async def found(query: str) -> list[str]:
        answer = await ada.get(f"/runs/{run_id}/logs?{query}")
        return [item["message"] for item in answer.json()["items"]]

    assert await found("q=BEGUN") == ["Begun 100%", "begun_one"]
    assert await found("q=0%25") == ["Begun 100%"]
    assert await found("q=n_o") == ["begun_one"]
    assert await found("q=%25") == ["Begun 100%"]
    assert await found("step=each") == ["Begun 100%", "begun_one"]
    assert await found("step=each[0].send") == ["begun_one"]
    assert (await ada.get(f"/runs/{run_id}/logs?q={'x' * 201}")).status_code == 422


async def test_evidence_is_read_oldest_first_page_by_page(
    ada: Caller, container: Container
) -> None:
    run_id = await _start(ada, await ada.save())
    _record(container, run_id)

    first = (await ada.get(f"/runs/{run_id}/evidence?limit=2")).json()
    rest = (await ada.get(f"/runs/{run_id}/evidence?cursor={first['next_cursor']}")).json()
    items = first["items"] + rest["items"]

    assert [item["content"] for item in items] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert rest["next_cursor"] is None
    assert items[0] == {
        "id": items[0]["id"],
        "step": "check",
        "attempt": 1,
        "kind": "note",
        "title": "",
        "content": {"n": 0},
        "artifact": None,
        "sha256": sha256_of({"n": 0}),
        "at": items[0]["at"],
    }
    assert (await ada.get(f"/runs/{run_id}/evidence?cursor=WzFd")).status_code == 422


async def test_a_bundle_tells_everything_and_can_be_checked(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    run_id = await _start(ada, workflow, input={"price": 4.90, "name": "é"}, context=GROUNDS)
    _record(container, run_id)

    answer = await ada.get(f"/runs/{run_id}/evidence/bundle")
    again = await ada.get(f"/runs/{run_id}/evidence/bundle")

    bundle = answer.json()
    assert list(faults_of(answer.content)) == []
    assert answer.content == again.content
    assert (bundle["run"]["id"], bundle["run"]["owner"]) == (run_id, ada.email)
    assert bundle["run"]["context"]["legal_basis"]["authority"] == "Court order 7"
    assert bundle["version"]["definition"] == DEFINITION
    assert bundle["version"]["checksum"] == sha256_of(DEFINITION)
    assert [step["input"] for step in bundle["steps"]] == [{"message": "Hi"}]
    assert bundle["approvals"][0]["decisions"][0]["comment"] == "Yes"
    assert [line["message"] for line in bundle["logs"]] == ["Begun 100%", "begun_one", "Done"]
    assert bundle["logs"][0]["context"] == bundle["run"]["context"]
    assert [item["content"]["n"] for item in bundle["evidence"]] == [0, 1, 2]


async def test_a_changed_database_row_shows_against_an_earlier_bundle(
    ada: Caller, container: Container
) -> None:
    run_id = await _start(ada, await ada.save())
    before = orjson.loads((await ada.get(f"/runs/{run_id}/evidence/bundle")).content)
    with transaction(container.engine) as session:
        session.get_one(Run, run_id).input = {"forged": True}

    after = orjson.loads((await ada.get(f"/runs/{run_id}/evidence/bundle")).content)

    hashes = [bundle["manifest"]["parts"] for bundle in (before, after)]
    assert [name for name in hashes[0] if hashes[0][name] != hashes[1][name]] == ["run"]
    assert before["manifest"]["sha256"] != after["manifest"]["sha256"]


async def test_a_bundle_that_is_too_large_is_refused(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_service, "MAX_BUNDLE_BYTES", 100)
    run_id = await _start(ada, await ada.save())

    answer = await ada.get(f"/runs/{run_id}/evidence/bundle")

    assert answer.status_code == 409
    assert f"runs evidence export {run_id}" in answer.json()["detail"]
