"""What no sane client sends: refused with a sentence, and the next request works."""

import gzip
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.api.container import Container
from app.api.deps import get_runs
from app.services.runs import Runs
from tests.integration.api.conftest import DEFINITION, Caller

JSON = {"content-type": "application/json"}
BAD_JSON = {
    "no JSON": b'{"a": ',
    "empty": b" ",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": 1e400}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "bad UTF-8": b'{"a": "\xff"}',
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a key": b'{"\\u0000": 1}',
    "too large an integer": b'{"a": 9223372036854775808}',
    "far too large an integer": b'{"a": ' + b"9" * 400 + b"}",
    "an integer that turns into a float": b'{"a": 99999999999999999999}',
    "65 levels": b"[" * 65 + b"]" * 65,
    "100,000 levels": b"[" * 100_000,
    "60,000 values": b"[" + b"1," * 60_000 + b"1]",
    "a long key": b'{"' + b"k" * 257 + b'": 1}',
}


async def test_json_that_cannot_be_kept_is_refused_everywhere(ada: Caller) -> None:
    webhook = (await ada.save())["webhook_url"]
    addresses = ("/api/v1/workflows", "/api/v1/workflows/validate", webhook)

    answers = {
        (name, address): await ada.http.post(address, content=body, headers=JSON | ada.headers)
        for address in addresses
        for name, body in BAD_JSON.items()
    }

    told = {place: (a.status_code, a.json()["code"]) for place, a in answers.items()}
    assert told == dict.fromkeys(answers, (400, "malformed_body"))
    assert all(len(answer.json()["detail"]) > 20 for answer in answers.values())
    assert (await ada.get("/runs")).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 9223372036854775807, "b": -9223372036854775808, "c": 1e300}',
        b"[" * 64 + b"]" * 64,
        b'{"\\ud83d\\ude00": "\xf0\x9f\x98\x80"}',
    ],
)
async def test_json_at_the_limits_is_kept(ada: Caller, body: bytes) -> None:
    saved = await ada.save()

    answer = await ada.http.post(saved["webhook_url"], content=body, headers=JSON)

    assert answer.status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/jsonx", ""])
async def test_another_content_type_is_refused(ada: Caller, kind: str) -> None:
    saved = await ada.save()
    headers = ada.headers | ({"content-type": kind} if kind else {})

    answers = [
        await ada.http.post(address, content=b"{}", headers=headers)
        for address in ("/api/v1/workflows", saved["webhook_url"], "/api/v1/login")
    ]

    assert [answer.status_code for answer in answers] == [415] * 3
    assert all("Content-Type" in answer.json()["detail"] for answer in answers)


async def test_a_form_is_no_workflow_and_a_file_is_no_input(ada: Caller) -> None:
    saved = await ada.save()

    form = await ada.call("POST", "/workflows", data={"name": "x"})
    file = await ada.http.post(saved["webhook_url"], files={"a": b"x"})

    assert (form.status_code, file.status_code) == (415, 400)


async def test_a_large_body_is_refused_announced_or_not(ada: Caller) -> None:
    saved = await ada.save()
    large = b'"' + b"x" * 2_000_000 + b'"'

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    answers = [
        await ada.http.post(saved["webhook_url"], content=large, headers=JSON),
        await ada.http.post(saved["webhook_url"], content=in_chunks(), headers=JSON),
        await ada.call("POST", "/workflows", content=in_chunks(), headers=JSON),
    ]

    assert [answer.status_code for answer in answers] == [413] * 3
    assert {answer.json()["code"] for answer in answers} == {"body_too_large"}
    assert (await ada.get("/runs")).json()["items"] == []


async def test_compressed_bodies_are_refused(ada: Caller) -> None:
    headers = JSON | {"content-encoding": "gzip"}

    answer = await ada.call("POST", "/workflows", content=gzip.compress(b"{}"), headers=headers)

    assert answer.status_code == 415


async def test_headers_that_are_too_large_are_refused(ada: Caller) -> None:
    answer = await ada.get("/me", headers={"x-large": "x" * 40_000})

    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "path", ["/runs/%00", "/nodes/%00", "/runs?cursor=%00", "/workflows?limit=1%00"]
)
async def test_nul_in_an_address_is_refused(ada: Caller, path: str) -> None:
    assert (await ada.get(path)).status_code == 400


async def test_nul_in_a_form_is_refused(ada: Caller) -> None:
    saved = await ada.save()

    trigger = await ada.http.post(saved["webhook_url"], data={"a": "\x00"})
    login = await ada.http.post("/api/v1/login", data={"username": "\x00", "password": "x"})

    assert (trigger.status_code, login.status_code) == (400, 400)


async def test_a_method_that_does_not_exist_says_which_do(ada: Caller) -> None:
    answer = await ada.call("DELETE", "/runs")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/runs/cancel", "POST"), ("/runs", "GET"), ("/workflows", "GET, POST")],
)
async def test_what_is_possible_instead_is_named(ada: Caller, path: str, allowed: str) -> None:
    answer = await ada.call("DELETE", path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("number", ["0", "99999999999", "x"])
async def test_a_version_number_that_is_none_is_refused(ada: Caller, number: str) -> None:
    saved = await ada.save()

    answer = await ada.get(f"/workflows/{saved['id']}/versions/{number}")

    assert answer.status_code == 422
    assert "`number`" in answer.json()["errors"][0]["detail"]


async def test_a_commit_that_fails_is_never_answered_as_saved(
    ada: Caller, container: Container
) -> None:
    def fail(_: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("the disk is full at /secret/place"))

    event.listen(container.engine, "commit", fail)
    answer = await ada.call("POST", "/workflows", json={"name": "x", "definition": DEFINITION})
    event.remove(container.engine, "commit", fail)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "retry-after" in answer.headers
    assert "secret" not in answer.text
    assert (await ada.get("/workflows")).json()["items"] == []


async def test_a_fault_of_ours_says_nothing_of_our_inside(app: FastAPI, ada: Caller) -> None:
    async def crash() -> Runs:
        raise RuntimeError("something secret")

    app.dependency_overrides[get_runs] = crash

    with capture_logs() as logged:
        answer = await ada.get("/runs")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert [entry["event"] for entry in logged] == ["request_crashed"]


async def test_every_answer_tells_browsers_to_run_nothing(ada: Caller) -> None:
    for answer in (await ada.get("/me"), await ada.get("/nope"), await ada.http.get("/health")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/runs?limit=0", "Query parameter `limit` must be at least 1."),
        ("/runs?limit=x", "Query parameter `limit` must be a whole number."),
        ("/runs?since=soon", "Query parameter `since` must be a time with its offset"),
        ("/runs?workflow_id=7", "Query parameter `workflow_id` is no id: one looks like 0"),
        ("/nodes/lgo", "Did you mean 'log'?"),
    ],
)
async def test_what_does_not_fit_is_told_in_words(ada: Caller, path: str, sentence: str) -> None:
    answer = (await ada.get(path)).json()

    assert sentence in [answer, *answer.get("errors", [])][-1]["detail"]


async def test_a_field_that_does_not_fit_is_named(ada: Caller) -> None:
    answer = await ada.post("/register", {"email": "nobody", "password": "short"})

    email, password = (error["detail"] for error in answer.json()["errors"])
    assert email.startswith("`email` is no e-mail address: ")
    assert not email.endswith("..")
    assert password == "`password` must have at least 8 characters."
