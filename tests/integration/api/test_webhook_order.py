"""In which order a signed webhook call is judged: its size, whose it is, whether it may start a run, how often, its input, and
last whether it was taken before. What comes later is neither told to whom an earlier question stops, nor used up by them."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from app.api.container import Container
from app.core.config import Settings
from app.core.statuses import WebhookScheme
from app.services.rate_limits import Counted
from tests.integration.api.conftest import Caller
from tests.unit.webhooks.signing import SECRETS, headers_of

HMAC = {"auth": "signature", "scheme": "hmac", "secret": SECRETS[WebhookScheme.HMAC]}
NO_HEADERS: Mapping[str, str] = {}
JSON = {"Content-Type": "application/json"}
BODY, OTHER = b'{"id": "evt_1"}', b'{"id": "evt_2"}'
NEEDS_ID = {"type": "object", "required": ["id"]}
DEFINITION = {"inputs": NEEDS_ID, "steps": [{"type": "log", "config": {"message": "x"}}]}
MOST_BYTES = 65_536


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"rate_limit_per_workflow": "3/hour", "max_body_bytes": MOST_BYTES}
    )


async def _call(
    saved: dict[str, Any],
    caller: Caller,
    body: bytes = BODY,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    signed: bool = True,
) -> httpx.Response:
    signature = headers_of(WebhookScheme.HMAC, body, 0) if signed else {}
    return await caller.http.post(
        saved["webhook_url"], content=body, headers={**JSON, **signature, **headers}
    )


def _told(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


async def _stop(ada: Caller, saved: dict[str, Any]) -> str:
    switch = {"scope": "workflow", "target": saved["id"], "mode": "drain", "reason": "a test"}
    made = await ada.post("/admin/kill-switches", switch)
    assert made.status_code == 201, made.text
    return f"/admin/kill-switches/{made.json()['id']}"


def _remaining(container: Container, saved: dict[str, Any]) -> int:
    standing = container.rates.look(Counted.WORKFLOW, saved["id"])
    assert standing is not None
    return standing.remaining


def _use_up(container: Container, saved: dict[str, Any]) -> None:
    while _remaining(container, saved):
        container.rates.require(Counted.WORKFLOW, saved["id"])


async def test_each_fault_of_a_signed_call_is_told_before_the_next(
    ada: Caller, container: Container
) -> None:
    saved = await ada.save(
        webhook=HMAC, definition=DEFINITION, enabled=False, context={"required": ["data_scope"]}
    )
    path, switch = f"/workflows/{saved['id']}", await _stop(ada, saved)
    every_fault = {"X-Run-Depth": "99", "Idempotency-Key": "k" * 201}
    told = [
        _told(await _call(saved, ada, b"x" * (MOST_BYTES + 1), every_fault, signed=False)),
        _told(await _call(saved, ada, b"[", every_fault, signed=False)),
        _told(await _call(saved, ada, b"[", every_fault)),
        _told(await _call(saved, ada, b"{}", every_fault)),
    ]

    del every_fault["X-Run-Depth"]
    told.append(_told(await _call(saved, ada, b"{}", every_fault)))
    await ada.call("PATCH", path, json={"enabled": True})
    told.append(_told(await _call(saved, ada, b"{}", every_fault)))
    await ada.call("DELETE", switch)
    told.append(_told(await _call(saved, ada, b"{}", every_fault)))
    without_context = await _call(saved, ada, b"{}")
    await ada.call("PATCH", path, json={"context": {"required": []}})
    counted_so_far = _remaining(container, saved)
    without_id = await _call(saved, ada, b"{}")
    started = await _call(saved, ada)
    again = await _call(saved, ada)
    too_often = await _call(saved, ada)

    assert told == [
        (413, "body_too_large"),
        (401, "not_authenticated"),
        (400, "malformed_body"),
        (409, "too_deep"),
        (409, "workflow_disabled"),
        (503, "kill_switch"),
        (422, "invalid_input"),
    ]
    assert without_context.json()["errors"][0]["pointer"] == "/context/data_scope"
    assert (counted_so_far, _told(without_id)) == (3, (422, "invalid_input"))
    assert without_id.json()["detail"].startswith("The input does not fit")
    assert [_told(one) for one in (started, again)] == [(202, None), (200, None)]
    assert _told(too_often) == (429, "too_many_requests")


@pytest.mark.parametrize(
    "state", ["enabled", "disabled", "stopped", "known", "broken body", "wrong type"]
)
async def test_an_unsigned_call_is_told_nothing_of_the_webhook(ada: Caller, state: str) -> None:
    plain, saved = await ada.save(webhook=HMAC), await ada.save(webhook=HMAC)
    body = b"{" if state == "broken body" else BODY
    if state == "disabled":
        await ada.call("PATCH", f"/workflows/{saved['id']}", json={"enabled": False})
    if state == "stopped":
        await _stop(ada, saved)
    if state == "known":
        assert (await _call(saved, ada)).status_code == 202
    headers = {"Content-Type": "text/csv"} if state == "wrong type" else {}
    more: list[dict[str, str]] = [
        {},
        {"Idempotency-Key": "k" * 201},
        {"X-Run-Depth": "99"},
        {"X-Signature": "00" * 32},
    ]

    told = [await _call(saved, ada, body, headers | one, signed=False) for one in more]

    expected = await _call(plain, ada, signed=False)
    assert expected.status_code == 401
    assert [answer.json() for answer in told] == [expected.json()] * 4


@pytest.mark.parametrize("limit", ["signed", "unsigned"])
async def test_a_call_that_is_refused_uses_up_neither_key_nor_delivery_nor_rate(
    ada: Caller, container: Container, limit: str
) -> None:
    saved = await ada.save(
        webhook=HMAC, dedupe={"key": "input.id"}, enabled=limit == "unsigned", definition=DEFINITION
    )
    path, signed = f"/workflows/{saved['id']}", limit == "signed"

    refused = [
        await _call(saved, ada, signed=signed),
        await _call(saved, ada, BODY, {"Idempotency-Key": "order 1"}, signed=signed),
    ]
    await ada.call("PATCH", path, json={"enabled": True})
    left = _remaining(container, saved)
    by_header = await _call(saved, ada, OTHER, {"Idempotency-Key": "order 1"})
    by_body = await _call(saved, ada)

    assert {answer.status_code for answer in refused} == {409 if signed else 401}
    assert (left, _remaining(container, saved)) == (3, 1)
    assert [answer.json()["duplicate"] for answer in (by_header, by_body)] == [False, False]


async def test_a_call_beyond_the_rate_counts_when_it_comes_again(
    ada: Caller, container: Container
) -> None:
    saved = await ada.save(webhook=HMAC)
    _use_up(container, saved)
    late = await _call(saved, ada, BODY, {"Idempotency-Key": "order 1"})
    container.rates._tallies.clear()

    again = await _call(saved, ada, BODY, {"Idempotency-Key": "order 1"})

    assert (_told(late), _told(again)) == ((429, "too_many_requests"), (202, None))


async def test_a_call_whose_input_does_not_fit_is_not_remembered(ada: Caller) -> None:
    saved = await ada.save(webhook=HMAC, definition=DEFINITION)
    refused = await _call(saved, ada, b"{}", {"Idempotency-Key": "order 1"})
    no_schema = {"definition": {"steps": DEFINITION["steps"]}}
    await ada.call("PATCH", f"/workflows/{saved['id']}", json=no_schema)

    again = await _call(saved, ada, b"{}", {"Idempotency-Key": "order 1"})

    assert (_told(refused), _told(again)) == ((422, "invalid_input"), (202, None))


async def test_a_recorded_call_takes_no_key_from_calls_to_come(ada: Caller) -> None:
    saved = await ada.save(webhook=HMAC)
    first = await _call(saved, ada)

    recorded = await _call(saved, ada, BODY, {"Idempotency-Key": "order 2"})
    next_ = await _call(saved, ada, OTHER, {"Idempotency-Key": "order 2"})

    assert recorded.json() == first.json() | {"duplicate": True}
    assert (_told(next_), next_.json()["duplicate"]) == ((202, None), False)
