"""Turns at the database: taken once by each request, given back whatever becomes of it, and not waited for without end."""

import asyncio
from collections.abc import Iterator

import pytest

from app.api import turns
from app.api.container import DATABASE_TURNS, Container
from app.core.security import passwords
from app.services import users
from tests.integration.api.conftest import PASSWORD, Caller, Sign


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def one_turn(container: Container) -> Iterator[asyncio.Semaphore]:
    """The last turn that is left: a request that took two, or did not give its own back, would wait in vain."""
    for _ in range(DATABASE_TURNS - 1):
        container.turns._value -= 1
    yield container.turns
    assert container.turns._value == 1


async def test_whatever_becomes_of_a_request_it_takes_one_turn_and_gives_it_back(
    ada: Caller, sign_up: Sign, one_turn: asyncio.Semaphore
) -> None:
    bob = await sign_up("bob@example.com")
    saved = await ada.save()
    run = (await ada.post(f"/workflows/{saved['id']}/runs", {})).json()
    asked = [
        ("GET", "/me", 200),
        ("GET", "/workflows", 200),
        ("GET", f"/runs/{run['id']}", 200),
        ("POST", f"/runs/{run['id']}/cancel", 200),
        ("GET", f"/runs/{run['id']}/stream", 200),
        ("GET", "/workflows/none", 404),
        ("GET", "/workflows?limit=0", 422),
        ("POST", "/workflows", 422),
        ("GET", "/approvals", 200),
        ("GET", "/credentials", 200),
        ("GET", "/teams", 200),
        ("GET", "/admin/status", 200),
        ("GET", "/admin/audit", 200),
    ]

    answers = [(await ada.call(method, path)).status_code for method, path, _ in asked]
    refused = [
        await bob.get("/admin/status"),
        await bob.get(f"/workflows/{saved['id']}"),
        await bob.get("/me", headers={"Authorization": "Bearer none"}),
    ]

    assert answers == [status for *_, status in asked]
    assert [answer.status_code for answer in refused] == [403, 404, 401]
    assert one_turn._value == 1


async def test_a_request_that_gets_no_turn_in_time_is_told_to_come_again(
    ada: Caller, one_turn: asyncio.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)

    async with one_turn:
        answer = await ada.get("/workflows")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert (await ada.get("/workflows")).status_code == 200


async def test_a_request_that_is_interrupted_while_it_waits_for_a_turn_takes_none(
    ada: Caller, one_turn: asyncio.Semaphore
) -> None:
    async with one_turn:
        asking = [asyncio.create_task(ada.get("/workflows")) for _ in range(2)]
        while len(one_turn._waiters or ()) < 2:  # noqa: ASYNC110 - a semaphore tells nobody who waits
            await asyncio.sleep(0)
        asking[0].cancel()

    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert not isinstance(answers[1], BaseException)
    assert answers[1].status_code == 200


async def test_whoever_signs_in_takes_one_turn_and_gives_it_back(
    ada: Caller, one_turn: asyncio.Semaphore
) -> None:
    account = {"email": "bob@example.com", "password": PASSWORD}
    right = {"username": ada.email, "password": PASSWORD}
    swap = {"current_password": PASSWORD, "new_password": "another one"}
    signed_in = await ada.http.post("/api/v1/login", data=right)

    answers = [
        signed_in,
        await ada.post("/register", account),
        await ada.post("/register", account),
        await ada.http.post("/api/v1/login", data=right | {"password": "a wrong one"}),
        await ada.post("/token/refresh", {"refresh_token": signed_in.json()["refresh_token"]}),
        await ada.post("/me/password", swap | {"current_password": "a wrong one"}),
        await ada.post("/me/password", swap),
        await ada.post("/logout", {"refresh_token": "none"}),
    ]

    statuses = [answer.status_code for answer in answers]
    assert (statuses, one_turn._value) == ([200, 201, 409, 401, 200, 422, 200, 204], 1)


async def test_a_login_that_gets_no_turn_after_hashing_gives_back_none(
    ada: Caller, one_turn: asyncio.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {"username": ada.email, "password": PASSWORD}
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    loop = asyncio.get_running_loop()

    def hash_while_another_takes_the_turn(password: str, stored: str | None) -> bool:
        asyncio.run_coroutine_threadsafe(one_turn.acquire(), loop).result(10)
        return passwords.verify_password(password, stored)

    monkeypatch.setattr(users, "verify_password", hash_while_another_takes_the_turn)

    answer = await ada.http.post("/api/v1/login", data=right)

    assert (answer.status_code, one_turn._value) == (503, 0)
    one_turn.release()
