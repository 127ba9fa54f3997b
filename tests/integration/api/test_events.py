"""Events over HTTP: published once, listed, guarded; workflows that say which events start them."""

from typing import Any

import pytest

from tests.integration.api.conftest import Caller, Sign

PAYMENT = {"type": "payment.received", "correlation_id": "A-1", "payload": {"amount": 42}}


async def test_an_event_is_stored_and_listed(ada: Caller) -> None:
    answer = await ada.post("/events", PAYMENT)
    await ada.post("/events", {"type": "other", "correlation_id": 17})
    listed = (await ada.get("/events")).json()
    payments = (await ada.get("/events?type=payment.received&correlation_id=A-1")).json()

    assert answer.status_code == 202
    receipt = answer.json()
    assert receipt == {
        "id": receipt["id"],
        "duplicate": False,
        "woken": 0,
        "started": [],
        "refused": [],
    }
    assert [item["type"] for item in listed["items"]] == ["other", "payment.received"]
    assert listed["items"][0]["correlation_id"] == "17"
    assert [item["id"] for item in payments["items"]] == [receipt["id"]]
    assert payments["items"][0]["payload"] == {"amount": 42}
    assert payments["items"][0]["consumed_at"] is None
    assert payments["items"][0]["expires_at"] > payments["items"][0]["received_at"]


async def test_a_list_of_events_has_pages(ada: Caller) -> None:
    for number in range(3):
        await ada.post("/events", {**PAYMENT, "id": f"pay_{number}"})

    first = (await ada.get("/events?limit=2")).json()
    rest = (await ada.get(f"/events?limit=2&cursor={first['next_cursor']}")).json()

    assert [item["id"] for item in first["items"]] == ["pay_2", "pay_1"]
    assert [item["id"] for item in rest["items"]] == ["pay_0"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("by_header", [False, True])
async def test_a_repeated_event_changes_nothing(ada: Caller, by_header: bool) -> None:
    extra: dict[str, Any] = {"headers": {"Idempotency-Key": "pay_1"}} if by_header else {}
    body = PAYMENT if by_header else {**PAYMENT, "id": "pay_1"}

    answers = [await ada.post("/events", body, **extra) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 200]
    assert [answer.json()["duplicate"] for answer in answers] == [False, True]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await ada.get("/events")).json()["items"]) == 1


async def test_others_neither_see_my_events_nor_take_my_ids(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    await ada.post("/events", {**PAYMENT, "id": "pay_1"})

    answer = await bob.post("/events", {**PAYMENT, "id": "pay_1"})
    listed = (await bob.get("/events?type=payment.received")).json()

    assert answer.json()["duplicate"] is False
    assert len(listed["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": ""},
        {"type": "x" * 201},
        {"type": 5},
        {"type": "x", "correlation_id": True},
        {"type": "x", "correlation_id": ""},
        {"type": "x", "correlation_id": ["a"]},
        {"type": "x", "id": ""},
        {"type": "x", "unknown": 1},
    ],
)
async def test_what_does_not_fit_is_refused(ada: Caller, body: dict[str, Any]) -> None:
    answer = await ada.post("/events", body)

    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_the_body_is_guarded_and_callers_must_be_known(ada: Caller) -> None:
    nul = await ada.post("/events", {"type": "x", "payload": "\u0000"})
    form = await ada.call("POST", "/events", data={"type": "x"})
    key = await ada.post("/events", PAYMENT, headers={"Idempotency-Key": "k" * 201})
    stranger = await ada.http.post("/api/v1/events", json=PAYMENT)
    odd = await ada.get("/events?type=%00")

    assert [one.status_code for one in (nul, form, key, stranger)] == [400, 415, 422, 401]
    assert odd.status_code < 500


async def test_an_ended_session_publishes_nothing(ada: Caller) -> None:
    await ada.post("/me/sessions/revoke")

    answer = await ada.post("/events", PAYMENT)

    assert answer.status_code == 401


async def test_a_workflow_says_which_events_start_it(ada: Caller) -> None:
    on_event = {"type": "order.placed", "filter": "event.payload.total > 100"}
    saved = await ada.save(on_event=on_event)
    path = f"/workflows/{saved['id']}"

    answer = await ada.post("/events", {"type": "order.placed", "payload": {"total": 101}})
    small = await ada.post("/events", {"type": "order.placed", "payload": {"total": 1}})
    runs = (await ada.get(f"{path}/runs")).json()["items"]
    changed = await ada.call("PATCH", path, json={"on_event": None})
    after = await ada.post("/events", {"type": "order.placed", "payload": {"total": 101}})

    assert saved["on_event"] == on_event
    assert [run["id"] for run in runs] == answer.json()["started"]
    assert runs[0]["trigger"] == "event"
    assert runs[0]["started_by"] == "ada@example.com"
    assert answer.json()["refused"] == []
    assert small.json()["started"] == []
    assert changed.json()["on_event"] is None
    assert after.json()["started"] == []


@pytest.mark.parametrize(
    ("source", "code"),
    [("event.payload.total >", "expression_syntax"), ("input.x", "unknown_name")],
)
async def test_a_filter_that_does_not_hold_is_refused_when_saved(
    ada: Caller, source: str, code: str
) -> None:
    body = {
        "name": "Test",
        "definition": {"steps": [{"type": "log", "config": {"message": "Hello"}}]},
        "on_event": {"type": "order.placed", "filter": source},
    }

    answer = await ada.post("/workflows", body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/on_event/filter"]
    assert answer.json()["errors"][0]["code"] == code


BASIS = {"authority": "Contract", "classification": "internal"}


async def test_an_event_starts_a_workflow_with_its_default_context(ada: Caller) -> None:
    context = {"required": ["legal_basis"], "defaults": {"legal_basis": BASIS}}
    saved = await ada.save(on_event={"type": "order.placed"}, context=context)

    answer = await ada.post("/events", {"type": "order.placed"})
    run = (await ada.get(f"/runs/{answer.json()['started'][0]}")).json()

    assert run["workflow_id"] == saved["id"]
    assert run["context"]["legal_basis"]["authority"] == "Contract"


async def test_a_context_that_no_event_can_give_is_refused_when_saved(ada: Caller) -> None:
    context = {"required": ["legal_basis", "data_scope"], "defaults": {"data_scope": "Orders"}}
    on_event = {"type": "order.placed"}
    by_hand = await ada.save(context=context)
    by_event = await ada.save(on_event=on_event)
    definition = {"steps": [{"type": "log", "config": {"message": "Hello"}}]}

    answers = [
        await ada.post(
            "/workflows",
            {"name": "Test", "definition": definition, "on_event": on_event, "context": context},
        ),
        await ada.call("PATCH", f"/workflows/{by_hand['id']}", json={"on_event": on_event}),
        await ada.call("PATCH", f"/workflows/{by_event['id']}", json={"context": context}),
    ]
    both = await ada.call(
        "PATCH", f"/workflows/{by_event['id']}", json={"context": context, "on_event": None}
    )

    assert [answer.status_code for answer in answers] == [422, 422, 422]
    for answer in answers:
        errors = [(error["pointer"], error["code"]) for error in answer.json()["errors"]]
        assert errors == [("/context/defaults/legal_basis", "missing_context")]
    assert both.status_code == 200


async def test_the_receipt_says_which_workflows_an_event_could_not_start(ada: Caller) -> None:
    on_event = {"type": "order.placed", "filter": "event.payload.total > 100"}
    saved = await ada.save(on_event=on_event)

    answer = await ada.post("/events", {"type": "order.placed", "payload": "no total"})

    refused = answer.json()["refused"]
    assert answer.status_code == 202
    assert [(one["workflow_id"], one["code"]) for one in refused] == [
        (saved["id"], "filter_failed")
    ]
