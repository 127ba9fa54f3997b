"""Accounts: register, log in, and what ends a token."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.api.container import Container
from app.core.config import Settings
from app.core.ids import new_id
from app.core.security.tokens import issue_token
from app.services.throttle import REGISTRATIONS
from tests.integration.api.conftest import KEY, PASSWORD, Caller, client_of, log_in, running


async def test_the_first_account_is_admin_and_later_ones_are_members(
    http: httpx.AsyncClient,
) -> None:
    roles = []
    for email in ("Ada@Example.com", "bob@example.com"):
        answer = await http.post("/api/v1/register", json={"email": email, "password": PASSWORD})
        roles.append((answer.status_code, answer.json()["email"], answer.json()["role"]))

    assert roles == [(201, "ada@example.com", "admin"), (201, "bob@example.com", "member")]


async def test_of_many_first_registrations_at_once_one_becomes_admin(
    http: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(
            http.post("/api/v1/register", json={"email": f"u{n}@example.com", "password": PASSWORD})
            for n in range(8)
        )
    )

    assert sorted(answer.json()["role"] for answer in answers) == ["admin", *["member"] * 7]


async def test_an_address_has_one_account(ada: Caller) -> None:
    account = {"email": "ADA@example.com", "password": PASSWORD}

    answer = await ada.post("/register", account)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("account", "pointer"),
    [
        ({"email": "nobody", "password": PASSWORD}, "/email"),
        ({"email": "a@example.com", "password": "short"}, "/password"),
        ({"email": "a@example.com", "password": "x" * 1025}, "/password"),
        ({"email": "a@example.com", "password": PASSWORD, "role": "admin"}, "/role"),
        ({"email": "a@example.com"}, "/password"),
    ],
)
async def test_an_account_that_does_not_fit_is_refused_with_its_field(
    http: httpx.AsyncClient, account: dict[str, str], pointer: str
) -> None:
    answer = await http.post("/api/v1/register", json=account)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_closed_registration_answers_403(settings: Settings) -> None:
    closed = settings.model_copy(update={"registration": "closed"})
    async with running(closed) as app, client_of(app) as http:
        answer = await http.post(
            "/api/v1/register", json={"email": "a@example.com", "password": PASSWORD}
        )

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_me_tells_who_the_token_stands_for(ada: Caller) -> None:
    answer = await ada.get("/me")

    assert (answer.status_code, answer.json()["email"]) == (200, "ada@example.com")
    assert answer.json()["created_at"].endswith("Z")


async def test_a_wrong_password_and_an_unknown_account_look_alike(ada: Caller) -> None:
    answers = [
        await ada.http.post("/api/v1/login", data={"username": name, "password": "not the one"})
        for name in ("ada@example.com", "eve@example.com", "e" * 5000)
    ]

    assert [answer.status_code for answer in answers] == [401] * 3
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"


async def test_the_sixth_failure_in_a_minute_is_told_to_wait(ada: Caller) -> None:
    for _ in range(5):
        wrong = {"username": "ada@example.com", "password": "not the one"}
        assert (await ada.http.post("/api/v1/login", data=wrong)).status_code == 401

    right = {"username": "ada@example.com", "password": PASSWORD}
    answer = await ada.http.post("/api/v1/login", data=right)

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 61


async def test_logging_in_often_with_the_right_password_is_fine(ada: Caller) -> None:
    for _ in range(7):
        await log_in(ada.http, "ada@example.com")


async def test_twenty_failures_from_one_address_stop_it_for_all_accounts(
    http: httpx.AsyncClient,
) -> None:
    for n in range(20):
        await http.post(
            "/api/v1/login", data={"username": f"{n}@example.com", "password": "wrong one"}
        )

    answer = await http.post(
        "/api/v1/login", data={"username": "new@example.com", "password": "wrong one"}
    )

    assert answer.status_code == 429


async def test_without_redis_logins_go_on_and_are_still_throttled(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with running(away) as app, client_of(app) as http:
        statuses = [
            (
                await http.post(
                    "/api/v1/login", data={"username": "a@example.com", "password": "wrong one"}
                )
            ).status_code
            for _ in range(6)
        ]

    assert statuses == [401] * 5 + [429]


async def test_changing_the_password_ends_older_tokens(ada: Caller) -> None:
    change = {"current_password": PASSWORD, "new_password": "another battery"}

    answer = await ada.post("/me/password", change)

    assert answer.status_code == 200
    fresh = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await ada.get("/me")).status_code == 401
    assert (await ada.http.get("/api/v1/me", headers=fresh)).status_code == 200
    await log_in(ada.http, ada.email, "another battery")


async def test_the_current_password_is_needed_to_change_it(ada: Caller) -> None:
    change = {"current_password": "not the one", "new_password": "another battery"}

    answer = await ada.post("/me/password", change)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/current_password"
    assert (await ada.get("/me")).status_code == 200


async def test_revoking_sessions_ends_older_tokens_everywhere(ada: Caller) -> None:
    workflow = await ada.save()

    answer = await ada.post("/me/sessions/revoke")

    assert answer.status_code == 200
    assert (await ada.get("/workflows")).status_code == 401
    assert (await ada.post(f"/workflows/{workflow['id']}/runs")).status_code == 401


async def test_expired_foreign_and_tampered_tokens_are_refused(ada: Caller) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - tokens are read with the system's clock here
    user_id = (await ada.get("/me")).json()["id"]
    good = ada.headers["Authorization"].removeprefix("Bearer ")
    tokens = [
        issue_token(KEY, user_id, 0, now - timedelta(hours=2), 60),
        issue_token(KEY, user_id, 0, now + timedelta(hours=2), 60),
        issue_token(KEY, user_id, 1, now, 60),
        issue_token(KEY, new_id(), 0, now, 60),
        issue_token("another key of more than 32 bytes", user_id, 0, now, 60),
        good[:-2],
        good.replace(".", "..", 1),
        "nonsense",
        "x" * 5000,
    ]

    answers = [
        await ada.http.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        for token in tokens
    ]

    assert [answer.status_code for answer in answers] == [401] * len(tokens)
    assert all(answer.json()["code"] == "not_authenticated" for answer in answers)


async def test_no_credentials_say_how_to_log_in(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/me")

    assert answer.status_code == 401
    assert "log in" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_account_is_found_however_its_address_is_spelt(ada: Caller) -> None:
    account = {"email": "Jos\u00e9@B\u00fccher.example", "password": PASSWORD}
    assert (await ada.http.post("/api/v1/register", json=account)).status_code == 201

    await log_in(ada.http, " jose\u0301@b\u00fccher.example ")


async def test_guessing_the_password_of_an_open_session_is_braked(ada: Caller) -> None:
    wrong = {"current_password": "not the one", "new_password": "another battery"}
    statuses = [(await ada.post("/me/password", wrong)).status_code for _ in range(6)]

    right = await ada.post("/me/password", wrong | {"current_password": PASSWORD})

    assert statuses == [422] * 5 + [429]
    assert right.status_code == 429


async def test_changing_the_password_often_is_fine(ada: Caller) -> None:
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    headers = ada.headers
    statuses = []
    for _ in range(7):
        answer = await ada.http.post("/api/v1/me/password", json=change, headers=headers)
        statuses.append(answer.status_code)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    assert statuses == [200] * 7


async def test_an_address_that_registers_again_and_again_is_braked(
    http: httpx.AsyncClient, container: Container
) -> None:
    for _ in range(REGISTRATIONS.amount):
        container.throttle.count(REGISTRATIONS, "127.0.0.1")

    answer = await http.post(
        "/api/v1/register", json={"email": "a@example.com", "password": PASSWORD}
    )

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert answer.headers["retry-after"]
