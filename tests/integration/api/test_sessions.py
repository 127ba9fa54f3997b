"""Sessions: carried on by refresh tokens that count once, ended at once."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import Engine, update
from sqlmodel import Session, col, select

from app.api.container import Container
from app.core.clock import SystemClock
from app.engine.duties.accounts import Accounts
from app.models import AuditEntry, Invitation, RefreshToken, UserSession
from app.services.throttle import REFRESHES
from tests.integration.api.conftest import PASSWORD, Caller, Sign


async def _log_in(caller: Caller, agent: str = "test") -> dict[str, Any]:
    answer = await caller.http.post(
        "/api/v1/login",
        data={"username": caller.email, "password": PASSWORD},
        headers={"User-Agent": agent},
    )
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def _refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/api/v1/token/refresh", json={"refresh_token": token})


async def _me(http: httpx.AsyncClient, tokens: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await http.get("/api/v1/me", headers=headers)).status_code


def _audited(engine: Engine) -> Callable[[], list[str]]:
    """Return what tells the actions that were put on record since now."""

    def read() -> list[str]:
        with Session(engine) as session:
            return [*session.exec(select(AuditEntry.action).order_by(col(AuditEntry.seq)))]

    before = len(read())
    return lambda: read()[before:]


async def test_logging_in_answers_both_tokens(ada: Caller, container: Container) -> None:
    tokens = await _log_in(ada)

    assert {name: type(value) for name, value in tokens.items()} == {
        "access_token": str,
        "token_type": str,
        "expires_in": int,
        "refresh_token": str,
        "refresh_expires_in": int,
    }
    assert tokens["token_type"] == "bearer"
    assert tokens["refresh_expires_in"] == 30 * 86_400
    assert tokens["refresh_token"].startswith("rt_")
    with Session(container.engine) as session:
        stored = str([row.model_dump() for row in session.exec(select(RefreshToken))])
    assert tokens["refresh_token"] not in stored


async def test_a_refresh_token_is_exchanged_for_new_ones(ada: Caller) -> None:
    first = await _log_in(ada)

    answer = await _refresh(ada.http, first["refresh_token"])

    second = answer.json()
    assert answer.status_code == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert await _me(ada.http, second) == 200
    assert (await _refresh(ada.http, second["refresh_token"])).status_code == 200


async def test_a_refresh_token_that_comes_again_ends_its_session_for_everybody(
    ada: Caller, container: Container
) -> None:
    first, other = await _log_in(ada), await _log_in(ada)
    second = (await _refresh(ada.http, first["refresh_token"])).json()
    third = (await _refresh(ada.http, second["refresh_token"])).json()
    actions = _audited(container.engine)

    again = await _refresh(ada.http, first["refresh_token"])

    assert (again.status_code, again.json()["code"]) == (401, "not_authenticated")
    assert (await _refresh(ada.http, third["refresh_token"])).status_code == 401
    assert [await _me(ada.http, tokens) for tokens in (first, second, third)] == [401] * 3
    assert await _me(ada.http, other) == 200
    assert actions() == ["session.refresh_reused"]


async def test_of_many_refreshes_with_one_token_at_once_one_succeeds_and_the_session_ends(
    ada: Caller,
) -> None:
    tokens = await _log_in(ada)

    answers = await asyncio.gather(*(_refresh(ada.http, tokens["refresh_token"]) for _ in range(6)))

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, *[401] * 5]
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert await _me(ada.http, won) == 401


async def test_what_is_no_refresh_token_is_401(ada: Caller) -> None:
    tokens = await _log_in(ada)
    texts = ["rt_", "x", "\x00" * 3, "é", "rt_" + "A" * 43, tokens["access_token"][:200]]

    statuses = [(await _refresh(ada.http, text)).status_code for text in texts]

    assert set(statuses) <= {400, 401}
    assert statuses.count(400) == 1
    assert (await _refresh(ada.http, "x" * 201)).status_code == 422


async def test_an_expired_refresh_token_is_refused(ada: Caller, container: Container) -> None:
    tokens = await _log_in(ada)
    with Session(container.engine) as session:
        session.execute(update(RefreshToken).values(expires_at=container.clock.now()))
        session.commit()

    assert (await _refresh(ada.http, tokens["refresh_token"])).status_code == 401


async def test_refreshing_again_and_again_is_braked(ada: Caller, container: Container) -> None:
    for _ in range(REFRESHES.amount):
        container.throttle.count(REFRESHES, "127.0.0.1")

    answer = await _refresh(ada.http, "rt_x")

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")


async def test_logging_out_ends_the_session_at_once(ada: Caller) -> None:
    tokens, other = await _log_in(ada), await _log_in(ada)

    answer = await ada.http.post(
        "/api/v1/logout", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )

    assert answer.status_code == 204
    assert await _me(ada.http, tokens) == 401
    assert (await _refresh(ada.http, tokens["refresh_token"])).status_code == 401
    assert await _me(ada.http, other) == 200


async def test_a_refresh_token_is_enough_to_log_out(ada: Caller) -> None:
    tokens = await _log_in(ada)
    body = {"refresh_token": tokens["refresh_token"]}

    answers = [await ada.http.post("/api/v1/logout", json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert await _me(ada.http, tokens) == 401


async def test_logging_out_needs_something_to_end(http: httpx.AsyncClient) -> None:
    answers = [
        await http.post("/api/v1/logout"),
        await http.post("/api/v1/logout", json={}),
        await http.post("/api/v1/logout", headers={"Authorization": "Bearer x"}),
    ]

    assert [answer.status_code for answer in answers] == [401] * 3


async def test_my_sessions_are_listed_and_ended_one_by_one(ada: Caller) -> None:
    phone = await _log_in(ada, "phone")

    listed = (await ada.get("/me/sessions")).json()["items"]
    ended = await ada.call("DELETE", f"/me/sessions/{listed[0]['id']}")

    assert [(one["user_agent"], one["current"]) for one in listed] == [
        ("phone", False),
        (listed[1]["user_agent"], True),
    ]
    assert listed[0]["address"] == "127.0.0.1"
    assert ended.status_code == 204
    assert await _me(ada.http, phone) == 401
    assert (await _refresh(ada.http, phone["refresh_token"])).status_code == 401
    assert len((await ada.get("/me/sessions")).json()["items"]) == 1


async def test_a_password_change_and_a_revocation_end_every_session(ada: Caller) -> None:
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    before = await _log_in(ada)

    changed = (await ada.post("/me/password", change)).json()
    headers = {"Authorization": f"Bearer {changed['access_token']}"}
    revoked = (await ada.http.post("/api/v1/me/sessions/revoke", headers=headers)).json()

    for tokens in (before, changed):
        assert await _me(ada.http, tokens) == 401
        assert (await _refresh(ada.http, tokens["refresh_token"])).status_code == 401
    assert await _me(ada.http, revoked) == 200
    assert (await _refresh(ada.http, revoked["refresh_token"])).status_code == 200


async def test_signing_in_and_out_is_put_on_record(ada: Caller, container: Container) -> None:
    actions = _audited(container.engine)

    tokens = await _log_in(ada)
    await _refresh(ada.http, tokens["refresh_token"])
    await ada.post("/me/password", {"current_password": PASSWORD, "new_password": PASSWORD})

    assert actions() == ["login.succeeded", "password.changed", "session.started"]


async def test_what_has_expired_is_forgotten(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    await ada.post("/admin/invitations", {})
    bob_id, now = await _id_of(bob), container.clock.now()
    with Session(container.engine) as session:
        session.execute(update(Invitation).values(expires_at=now))
        session.execute(update(UserSession).values(expires_at=now + timedelta(hours=1)))
        session.execute(
            update(UserSession).where(col(UserSession.user_id) == bob_id).values(expires_at=now)
        )
        session.commit()

    counts = [Accounts(container.engine, SystemClock()).run_once() for _ in range(2)]

    assert counts == [{"sessions": 1, "invitations": 1}, {"sessions": 0, "invitations": 0}]
    with Session(container.engine) as session:
        assert len(session.exec(select(RefreshToken)).all()) == 1
    assert (await bob.get("/me")).status_code == 401
    assert (await ada.get("/me")).status_code == 200


async def _id_of(caller: Caller) -> str:
    return str((await caller.get("/me")).json()["id"])
