"""Rate limits at every door: 429 with Retry-After, and how one stands in every answer."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.api.container import Container
from app.core.config import Settings
from app.services.rate_limits import Counted
from tests.integration.api.conftest import Caller, client_of, log_in, running

PASSWORD = "correct horse battery"


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    limits: dict[str, str] = getattr(request, "param", {})
    return settings.model_copy(update=limits)


@pytest.fixture
async def ada(app: FastAPI) -> AsyncIterator[Caller]:
    async with client_of(app) as http:
        account = {"email": "ada@example.com", "password": PASSWORD}
        assert (await http.post("/api/v1/register", json=account)).status_code == 201
        yield Caller(http, account["email"], await log_in(http, account["email"]))


def _limited(**limits: str) -> pytest.MarkDecorator:
    values = {f"rate_limit_per_{name}": text for name, text in limits.items()}
    return pytest.mark.parametrize("settings", [values], indirect=True)


def _assert_refused(answer: httpx.Response, policy: str, detail: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert detail in answer.json()["detail"]
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert answer.headers["ratelimit-policy"] == policy
    assert ";r=0;t=" in answer.headers["ratelimit"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@_limited(user="5/hour")
async def test_an_account_is_limited_on_every_route_it_calls(ada: Caller) -> None:
    saved = await ada.save()
    answers = [
        await ada.get("/me"),
        await ada.get("/runs"),
        await ada.post(f"/workflows/{saved['id']}/runs"),
        await ada.http.post(saved["webhook_url"].partition("?")[0], json={}, headers=ada.headers),
        await ada.get("/me"),
        await ada.http.post(saved["webhook_url"].partition("?")[0], json={}, headers=ada.headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 202, 429, 429]
    assert answers[0].headers["ratelimit"].startswith('"user";r=3;t=')
    for answer in answers[4:]:
        _assert_refused(answer, '"user";q=5;w=3600', "from this account")
    assert (await ada.http.post(saved["webhook_url"], json={})).status_code == 202


@_limited(address="6/hour", user="off")
async def test_an_address_is_limited_before_anybody_asks_who_it_is(
    app: FastAPI, ada: Caller, container: Container
) -> None:
    for _ in range(4):
        assert (await ada.get("/me")).status_code == 200

    answers = [
        await ada.get("/me"),
        await ada.http.post("/api/v1/webhooks/019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11", json={}),
        await ada.http.get("/api/v1/nothing"),
    ]
    elsewhere = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://test") as other:
        passed = await other.get("/api/v1/me", headers=ada.headers)
    health = await ada.http.get("/health/live")

    for answer in answers:
        _assert_refused(answer, '"address";q=6;w=3600', "from this address")
    assert (passed.status_code, health.status_code) == (200, 200)
    assert "ratelimit" not in health.headers
    assert container.rates.look(Counted.ADDRESS, "127.0.0.1") is not None


@_limited(workflow="3/hour", user="off")
async def test_a_webhook_is_limited_by_the_calls_that_it_lets_in(ada: Caller) -> None:
    saved, other = await ada.save(), await ada.save()
    address = saved["webhook_url"].partition("?")[0]

    strangers = [await ada.http.post(address, json={}) for _ in range(5)]
    answers = [await ada.http.post(saved["webhook_url"], json={}) for _ in range(4)]

    assert {answer.status_code for answer in strangers} == {401}
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[0].headers["ratelimit"].startswith('"workflow";r=2;t=')
    _assert_refused(answers[3], '"workflow";q=3;w=3600', "to this webhook")
    assert (await ada.http.post(other["webhook_url"], json={})).status_code == 202
    assert (await ada.post(f"/workflows/{saved['id']}/runs")).status_code == 202


@_limited(address="100/hour", user="50/hour")
async def test_an_answer_tells_of_every_limit_that_applies(ada: Caller) -> None:
    answer = await ada.get("/me")

    assert answer.headers["ratelimit-policy"] == '"address";q=100;w=3600, "user";q=50;w=3600'
    assert answer.headers["ratelimit"].count(";r=") == 2


async def test_as_delivered_no_webhook_and_no_address_is_limited(ada: Caller) -> None:
    saved = await ada.save()

    webhook = await ada.http.post(saved["webhook_url"], json={})
    mine = await ada.get("/me")

    assert "ratelimit" not in webhook.headers
    assert mine.headers["ratelimit-policy"] == '"user";q=600000;w=60'


@_limited(user="20/hour")
async def test_two_api_processes_count_together(
    ada: Caller, container: Container, settings: Settings
) -> None:
    async with running(settings) as second, client_of(second) as http:
        for _ in range(10):
            await ada.get("/me")
        container.rates.close()  # shares what is left
        other = Caller(http, ada.email, ada.headers)
        passed = 0
        while (await other.get("/me")).status_code == 200:
            passed += 1
            second.state.container.rates.share_now()

    assert passed == 10


async def _key(ada: Caller) -> dict[str, str]:
    form = {"name": "Ada's", "scopes": ["runs:read", "runs:write"]}
    return {"X-API-Key": (await ada.post("/api-keys", form)).json()["key"]}


@_limited(key="4/hour", user="off")
async def test_each_api_key_is_limited_by_itself_and_only_whoever_has_it_uses_it_up(
    ada: Caller,
) -> None:
    one, other, saved = await _key(ada), await _key(ada), await ada.save()
    address = saved["webhook_url"].partition("?")[0]
    forged = {"X-API-Key": one["X-API-Key"][:-43] + "A" * 43}

    strangers = [await ada.http.get("/api/v1/runs", headers=forged) for _ in range(6)]
    answers = [
        await ada.http.get("/api/v1/runs", headers=one),
        await ada.http.post(address, json={}, headers=one),
        await ada.http.post(f"/api/v1/workflows/{saved['id']}/runs", headers=one),
        await ada.http.get("/api/v1/runs", headers=one),
        await ada.http.get("/api/v1/runs", headers=one),
        await ada.http.post(address, json={}, headers=one),
    ]

    assert [answer.status_code for answer in strangers] == [401] * 4 + [429] * 2
    assert [answer.status_code for answer in answers] == [200, 202, 202, 200, 429, 429]
    _assert_refused(answers[4], '"key";q=4;w=3600', "with this API key")
    assert (await ada.http.get("/api/v1/runs", headers=other)).status_code == 200


@_limited(user="7/hour", key="off")
async def test_an_account_gets_no_further_by_many_keys(ada: Caller) -> None:
    keys, saved = [await _key(ada) for _ in range(2)], await ada.save()
    address = saved["webhook_url"].partition("?")[0]

    answers = [
        await ada.http.get("/api/v1/runs", headers=keys[0]),
        await ada.http.post(address, json={}, headers=keys[1]),
        await ada.http.post(f"/api/v1/workflows/{saved['id']}/runs", headers=keys[0]),
        await ada.http.post(address, json={}, headers=keys[1]),
        await ada.http.get("/api/v1/runs", headers=keys[0]),
        await ada.http.post(address, json={}, headers=keys[1]),
        await ada.get("/runs"),
    ]

    assert [answer.status_code for answer in answers] == [200, 202, 202, 202, 429, 429, 429]
