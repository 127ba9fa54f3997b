"""People decide over HTTP while real workers drive the runs."""

from functools import partial
from typing import Any

import httpx
import pytest

from tests.e2e.control.desk import Desk, at_once
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
OUTSIDER = "cfo@example.org"


def asked(owner: Desk, sink: Sink, *approvers: str, **config: Any) -> tuple[str, str]:
    """Start a run that asks, and calls the sink once it was approved; returns the run and the approval."""
    prompt = {"prompt": "Ship ${{ input.order }}?", "approvers": list(approvers), **config}
    ship = {
        "id": "ship",
        "type": "http_request_node",
        "config": {"method": "POST", "url": sink.url(), "json_body": {}},
        "depends_on": ["sign_off.approved"],
    }
    saved = owner.save({"id": "sign_off", "type": "approval", "config": prompt}, ship)
    run_id = owner.start(saved, {"order": "A-1"})
    run = owner.until(run_id, "waiting")
    return run_id, run["waiting_for"][0]["approval_id"]


def test_a_second_person_decides_and_the_run_goes_on(
    ada: Desk, bob: Desk, eve: Desk, sink: Sink
) -> None:
    run_id, approval_id = asked(ada, sink, bob.email)
    address = f"/approvals/{approval_id}"
    inboxes = [
        [item["id"] for item in desk.get("/approvals", params={"status": "pending"})["items"]]
        for desk in (bob, eve)
    ]

    foreign = eve.post(f"{address}/approve")
    owner = ada.post(f"{address}/approve")
    first = bob.post(f"{address}/approve", {"comment": "Within budget"})
    second = bob.post(f"{address}/reject")
    run = ada.ended(run_id)

    assert inboxes == [[approval_id], []]
    assert (foreign.status_code, owner.status_code) == (404, 403)
    assert (first.status_code, first.json()["status"]) == (200, "approved")
    assert second.status_code == 409
    assert "approved" in second.json()["detail"]
    assert run["status"] == "succeeded"
    assert sink.effects == {f"{run_id}:ship": 1}
    (evidence,) = ada.get(f"/runs/{run_id}/evidence")["items"]
    assert evidence["kind"] == "approval"
    assert evidence["content"]["decisions"][0]["by"] == bob.email
    assert evidence["content"]["decisions"][0]["comment"] == "Within budget"


def test_who_started_the_run_does_not_approve_it_unless_that_is_allowed(
    ada: Desk, sink: Sink
) -> None:
    refusing, allowing = asked(ada, sink, ada.email), asked(ada, sink, ada.email, allow_self=True)

    refused = ada.post(f"/approvals/{refusing[1]}/approve")
    allowed = ada.post(f"/approvals/{allowing[1]}/approve")

    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert ada.ended(allowing[0])["status"] == "succeeded"
    assert ada.status(refusing[0]) == "waiting"
    assert ada.control(refusing[0], "cancel").status_code == 200
    late = ada.post(f"/approvals/{refusing[1]}/approve")
    assert late.status_code in {403, 409}
    assert ada.get(f"/approvals/{refusing[1]}")["status"] == "cancelled"
    assert sink.effects == {f"{allowing[0]}:ship": 1}


def test_a_link_shows_what_is_asked_and_decides_once(ada: Desk, sink: Sink) -> None:
    run_id, approval_id = asked(ada, sink, OUTSIDER)
    made = ada.post(f"/approvals/{approval_id}/links", {"approver": OUTSIDER})
    url = made.json()["url"]

    shown = [httpx.get(url).json() for _ in range(2)]
    undecided = ada.status(run_id)
    answers = at_once([partial(httpx.post, url, json={"decision": "approve"})] * 10)
    again = httpx.post(url, json={"decision": "reject"})
    unknown = httpx.post(f"{url[:-8]}AAAAAAAA", json={"decision": "approve"})

    assert made.status_code == 201
    assert [page["prompt"] for page in shown] == ["Ship A-1?"] * 2
    assert undecided == "waiting"
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 9]
    assert (again.status_code, unknown.status_code) == (409, 404)
    assert ada.ended(run_id)["status"] == "succeeded"
    assert sink.effects == {f"{run_id}:ship": 1}
    (decision,) = ada.get(f"/approvals/{approval_id}")["decisions"]
    assert (decision["by"], decision["via"]) == (OUTSIDER, "link")


def test_of_twenty_decisions_at_once_one_counts(ada: Desk, bob: Desk, sink: Sink) -> None:
    run_id, approval_id = asked(ada, sink, bob.email, on_reject="port")
    wishes = ["approve", "reject"] * 10

    answers = at_once([partial(bob.post, f"/approvals/{approval_id}/{wish}") for wish in wishes])

    run = ada.ended(run_id)
    winners = [answer.json()["status"] for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 19]
    assert run["status"] == "succeeded"
    assert run["steps"][0]["output"]["decision"] == winners[0]
    assert sink.effects == ({f"{run_id}:ship": 1} if winners == ["approved"] else {})


def test_when_nobody_decides_in_time_further_people_are_asked(
    platform: Platform, ada: Desk, bob: Desk, sink: Sink
) -> None:
    run_id, approval_id = asked(
        ada, sink, OUTSIDER,
        timeout_seconds=3600, timeout_action="escalate", escalate_to=[bob.email],
    )  # fmt: skip
    address = f"/approvals/{approval_id}"
    too_early = bob.post(f"{address}/approve")

    platform.database.rows(
        "UPDATE approvals SET due_at = now() - interval '1 second' WHERE id = :id", id=approval_id
    )
    platform.until(lambda: ada.get(address)["escalated_at"] is not None)
    answer = bob.post(f"{address}/approve")

    assert too_early.status_code == 404
    assert answer.status_code == 200, answer.text
    assert ada.ended(run_id)["status"] == "succeeded"
    assert sink.effects == {f"{run_id}:ship": 1}


def test_a_decision_that_comes_too_late_is_refused(ada: Desk, bob: Desk, sink: Sink) -> None:
    run_id, approval_id = asked(ada, sink, bob.email, timeout_seconds=1, timeout_action="fail")

    run = ada.ended(run_id)
    late = bob.post(f"/approvals/{approval_id}/approve")

    assert (late.status_code, ada.get(f"/approvals/{approval_id}")["status"]) == (409, "expired")
    assert (run["status"], run["error"]["code"]) == ("failed", "approval_timed_out")
    assert not sink.effects
