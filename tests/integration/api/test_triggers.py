"""What starts runs, who may, and what becomes the input."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import Caller, Sign


async def _input_of(ada: Caller, answer: httpx.Response) -> Any:
    assert answer.status_code == 202, answer.text
    return (await ada.get(f"/runs/{answer.json()['run_id']}")).json()["input"]


async def test_a_trigger_is_stored_before_its_answer(ada: Caller) -> None:
    saved = await ada.save()

    answer = await ada.http.post(saved["webhook_url"], json={"id": 7})

    receipt = answer.json()
    assert (answer.status_code, receipt["status"], receipt["duplicate"]) == (202, "queued", False)
    run = (await ada.get(f"/runs/{receipt['run_id']}")).json()
    assert (run["workflow_id"], run["trigger"], run["version"]) == (saved["id"], "webhook", 1)
    assert answer.headers["location"] == f"/api/v1/runs/{receipt['run_id']}"


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        ({"json": {"a": [1, None, "x"]}}, {"a": [1, None, "x"]}),
        ({"json": [1, 2]}, [1, 2]),
        ({"json": None}, {}),
        ({}, {}),
        ({"data": {"a": "1", "b": ["2", "3"]}}, {"a": "1", "b": ["2", "3"]}),
        ({"content": b'"x"', "headers": {"content-type": "application/cloud+json"}}, "x"),
        ({"content": b"", "headers": {"content-type": "application/json"}}, {}),
    ],
)
async def test_the_body_becomes_the_input(
    ada: Caller, request_body: dict[str, Any], expected: Any
) -> None:
    saved = await ada.save()

    answer = await ada.http.post(saved["webhook_url"], **request_body)

    assert await _input_of(ada, answer) == expected


async def test_token_owner_and_nobody_else_may_call_a_webhook(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    saved = await ada.save()
    path, _, token = saved["webhook_url"].partition("?token=")

    async def status(headers: dict[str, str], query: str = "") -> int:
        return (await ada.http.post(path + query, json={}, headers=headers)).status_code

    assert await status({}, f"?token={token}") == 202
    assert await status({"X-Webhook-Token": token}) == 202
    assert await status(ada.headers) == 202
    assert await status({"Authorization": "Bearer theirs"}, f"?token={token}") == 202
    assert await status({}) == 401
    assert await status({}, "?token=wrong") == 401
    assert await status({}, "?token=%FF%C3") == 401
    assert await status({"Authorization": "Bearer tampered"}) == 401
    assert await status(bob.headers) == 404


async def test_an_open_webhook_may_be_called_by_anybody(ada: Caller) -> None:
    saved = await ada.save(webhook={"auth": "open"})

    answer = await ada.http.post(saved["webhook_url"], json={})

    assert answer.status_code == 202


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id"])
async def test_many_deliveries_with_one_key_are_one_run(ada: Caller, header: str) -> None:
    saved = await ada.save()

    answers = await asyncio.gather(
        *(ada.http.post(saved["webhook_url"], json={}, headers={header: "k1"}) for _ in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [*[200] * 19, 202]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert len((await ada.get(f"/workflows/{saved['id']}/runs")).json()["items"]) == 1


async def test_the_dedupe_key_sees_the_input_but_no_secret_header(ada: Caller) -> None:
    by_input = await ada.save(dedupe={"key": "input.id"})
    by_secret = await ada.save(dedupe={"key": "headers.authorization ?? 'withheld'"})

    first = await ada.http.post(by_input["webhook_url"], json={"id": "a"})
    again = await ada.http.post(by_input["webhook_url"], json={"id": "a", "more": 1})
    hidden = await ada.http.post(by_secret["webhook_url"], json={}, headers=ada.headers)
    other = await ada.http.post(by_secret["webhook_url"], json={}, headers={"Authorization": "x"})

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["run_id"] == first.json()["run_id"]
    assert other.json()["run_id"] == hidden.json()["run_id"]


async def test_a_disabled_workflow_starts_nothing(ada: Caller) -> None:
    saved = await ada.save(enabled=False)

    webhook = await ada.http.post(saved["webhook_url"], json={})
    by_hand = await ada.post(f"/workflows/{saved['id']}/runs")

    assert (webhook.status_code, webhook.json()["code"]) == (409, "workflow_disabled")
    assert by_hand.status_code == 409
    assert (await ada.get("/runs")).json()["items"] == []


async def test_a_deleted_workflow_cannot_be_triggered(ada: Caller) -> None:
    saved = await ada.save()
    await ada.call("DELETE", f"/workflows/{saved['id']}")

    assert (await ada.http.post(saved["webhook_url"], json={})).status_code == 404


async def test_a_run_by_hand_takes_input_version_and_key(ada: Caller) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"
    changed = {"definition": {"steps": [{"type": "log", "config": {"message": "2"}}]}}
    await ada.call("PATCH", path, json=changed)

    newest = await ada.post(f"{path}/runs")
    older = await ada.post(f"{path}/runs", {"input": {"a": 1}, "version": 1})
    keyed = [await ada.post(f"{path}/runs", {}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    absent = await ada.post(f"{path}/runs", {"version": 9})

    assert (newest.status_code, newest.json()["workflow_id"]) == (202, saved["id"])
    runs = [(await ada.get(f"/runs/{a.json()['id']}")).json() for a in (newest, older)]
    assert [(run["version"], run["input"], run["trigger"]) for run in runs] == [
        (2, {}, "manual"),
        (1, {"a": 1}, "manual"),
    ]
    assert [answer.status_code for answer in keyed] == [202, 200]
    assert absent.status_code == 404


async def test_input_that_does_not_fit_the_schema_is_refused(ada: Caller) -> None:
    inputs = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    step = {"type": "log", "config": {"message": "${{ input.id }}"}}
    saved = await ada.save(definition={"inputs": inputs, "steps": [step]})

    answer = await ada.http.post(saved["webhook_url"], json={"id": 7})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/id")
    assert (await ada.get("/runs")).json()["items"] == []


async def test_a_definition_in_the_body_is_only_input(ada: Caller) -> None:
    saved = await ada.save()
    body = {"definition": {"steps": []}, "version": 7, "files": {"a": {"filepath": "/etc/passwd"}}}

    answer = await ada.http.post(saved["webhook_url"], json=body)

    assert await _input_of(ada, answer) == body
    assert (await ada.get(f"/workflows/{saved['id']}")).json()["definition"] == saved["definition"]


async def test_an_open_webhook_takes_callers_with_credentials_of_their_own(ada: Caller) -> None:
    workflow = await ada.save(webhook={"auth": "open"})

    answer = await ada.http.post(
        workflow["webhook_url"], json={}, headers={"Authorization": "Bearer somebody-elses"}
    )

    assert answer.status_code == 202


async def test_dedupe_keys_of_different_types_differ_and_equal_numbers_do_not(ada: Caller) -> None:
    saved = await ada.save(dedupe={"key": "input.id"})
    runs: list[str] = []

    for body in ('{"id": 1}', '{"id": "1"}', '{"id": 1.0}', '{"id": true}', '{"id": "true"}'):
        answer = await ada.http.post(
            saved["webhook_url"], content=body, headers={"content-type": "application/json"}
        )
        runs.append(answer.json()["run_id"])

    assert len(set(runs)) == 4
    assert runs[0] == runs[2]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=%FF"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"a=1&" * 1001),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(ada: Caller, kind: str, body: bytes) -> None:
    saved = await ada.save()

    answer = await ada.http.post(saved["webhook_url"], content=body, headers={"content-type": kind})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


async def test_a_form_keeps_its_text(ada: Caller) -> None:
    saved = await ada.save()
    sent = {"a": "50%", "b": "\u00fc &=+", "c": ""}

    forms = [
        await ada.http.post(saved["webhook_url"], data=sent),
        await ada.http.post(saved["webhook_url"], files={k: (None, v) for k, v in sent.items()}),
    ]

    assert [await _input_of(ada, answer) for answer in forms] == [sent, sent]
