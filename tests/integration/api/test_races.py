"""Requests that meet at the same rows on Postgres: each waits for the other at most once, and sees what that has done.

SQLite has one writer at a time, so nothing of this can happen there.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text
from sqlmodel import Session, col, select

from app.api.container import DATABASE_TURNS, Container
from app.core.config import Settings
from app.core.security import passwords
from app.core.statuses import Role
from app.engine.audit.appending import hold_chain
from app.models import (
    ApiKey,
    AuditEntry,
    Credential,
    Invitation,
    KillSwitch,
    WorkflowShare,
)
from app.services import api_keys, credentials, policy_caps, sharing, teams, users
from app.services.oidc.identity import Identity, SignInRules
from app.services.oidc.sign_in import sign_in
from app.services.sessions import Visit
from tests.integration.api.conftest import PASSWORD, Caller, Sign

PATIENCE_SECONDS = 10.0
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
Call = Coroutine[Any, Any, httpx.Response]
SECRET = {"kind": "bearer", "data": {"token": "a token"}, "allowed_hosts": ["example.com"]}


@pytest.fixture
def settings(settings: Settings, postgres_url: str) -> Settings:
    return settings.model_copy(update={"database_url": postgres_url})


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


async def meet(
    container: Container, *calls: Call, hold: Callable[[Connection], object] = hold_chain
) -> list[int]:
    """Have each request begin when those before it wait for a lock, then let all go on; returns how they were answered.

    What is held from the beginning stops each of them on its way: the end of the audit log, just before its commit.
    """
    begun: list[asyncio.Task[httpx.Response]] = []
    with container.engine.begin() as connection:
        hold(connection)
        for call in calls:
            begun.append(asyncio.create_task(call))
            await _until_they_wait(container, begun)
    return [answer.status_code for answer in await asyncio.gather(*begun)]


async def _until_they_wait(container: Container, begun: list[asyncio.Task[httpx.Response]]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while await asyncio.to_thread(_waiting, container) + sum(one.done() for one in begun) < len(
        begun
    ):
        assert asyncio.get_running_loop().time() < deadline, "a request does not wait for a lock"
        await asyncio.sleep(0.02)


def _waiting(container: Container) -> int:
    with container.engine.connect() as connection:
        return int(connection.execute(WAITING).scalar_one())


async def _log_in(ada: Caller, email: str | None = None) -> httpx.Response:
    form = {"username": email or ada.email, "password": PASSWORD}
    return await ada.http.post("/api/v1/login", data=form)


def _recorded(container: Container, action: str) -> int:
    with Session(container.engine) as session:
        return len(session.exec(select(AuditEntry).where(AuditEntry.action == action)).all())


async def test_more_requests_at_once_than_there_are_threads_and_connections_are_all_answered(
    ada: Caller,
) -> None:
    answers = await asyncio.gather(*(ada.get("/workflows") for _ in range(90)))

    assert [answer.status_code for answer in answers] == [200] * 90


CALLS_AT_ONCE = 40


def _by_kind(kind: str, ada: Caller, number: int, token: str) -> Call:
    email = f"user{number}@example.com"
    if kind == "register":
        return ada.post("/register", {"email": email, "password": PASSWORD})
    if kind == "login":
        return _log_in(ada, email)
    return ada.http.post(f"/api/v1/{kind}", json={"refresh_token": token})


@pytest.mark.parametrize("kind", ["register", "login", "token/refresh", "logout"])
async def test_whoever_waits_to_sign_in_or_out_leaves_connections_to_triggers(
    ada: Caller, container: Container, kind: str
) -> None:
    path = f"/webhooks/{(await ada.save())['id']}"
    token = (await _log_in(ada)).json()["refresh_token"]
    with container.engine.begin() as connection:
        hold_chain(connection)
        connection.execute(text("SELECT FROM sessions FOR UPDATE"))
        calls = [_by_kind(kind, ada, number, token) for number in range(CALLS_AT_ONCE)]
        begun = [asyncio.create_task(call) for call in calls]
        await _until_they_wait(container, begun[:DATABASE_TURNS])

        triggered = await ada.post(path, {})

    assert triggered.status_code == 202
    assert {answer.status_code for answer in await asyncio.gather(*begun)} <= {200, 201, 204, 401}


async def test_logins_that_hash_leave_threads_and_turns_to_others(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, hashing = threading.Event(), threading.Semaphore(0)

    def hash_long(password: str, stored: str | None) -> bool:
        with passwords._SLOTS:
            hashing.release()
            return go_on.wait(PATIENCE_SECONDS) and password == stored

    monkeypatch.setattr(users, "verify_password", hash_long)
    calls = (_log_in(ada, f"user{number}@example.com") for number in range(CALLS_AT_ONCE))
    begun = [asyncio.create_task(call) for call in calls]
    try:
        for _ in range(passwords.MAX_AT_ONCE):
            assert await asyncio.to_thread(hashing.acquire, timeout=PATIENCE_SECONDS)
        meanwhile = await asyncio.wait_for(ada.get("/workflows"), PATIENCE_SECONDS / 2)
    finally:
        go_on.set()

    assert meanwhile.status_code == 200
    assert {answer.status_code for answer in await asyncio.gather(*begun)} == {401}


async def test_of_two_first_policies_the_second_becomes_the_next_revision(
    ada: Caller, container: Container
) -> None:
    path = f"/workflows/{(await ada.save())['id']}/policy"
    puts = [ada.call("PUT", path, json={"max_concurrent_runs": most}) for most in (1, 2)]

    statuses = await meet(container, *puts)

    saved = (await ada.get(path)).json()
    assert (statuses, saved["revision"]) == ([200, 200], 2)
    assert [one["policy"]["max_concurrent_runs"] for one in saved["history"]] == [2, 1]


@pytest.mark.parametrize("shared_before", [True, False])
async def test_whoever_gives_a_workflow_away_does_not_share_it_at_the_same_moment(
    ada: Caller, sign_up: Sign, container: Container, shared_before: bool
) -> None:
    bob = await sign_up("bob@example.com")
    path = f"/workflows/{(await ada.save())['id']}"
    share = {"user": bob.email, "role": "viewer"}
    if shared_before:
        await ada.call("PUT", f"{path}/shares", json=share)
    await sign_up("cyd@example.com")

    statuses = await meet(
        container,
        ada.post(f"{path}/transfer", {"owner": "cyd@example.com"}),
        ada.call("PUT", f"{path}/shares", json=share | {"role": "editor"}),
    )

    assert statuses == [200, 404]
    with Session(container.engine) as session:
        assert session.exec(select(WorkflowShare)).all() == []


async def test_whoever_gives_a_workflow_away_does_not_schedule_it_at_the_same_moment(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    path = f"/workflows/{(await ada.save())['id']}"

    statuses = await meet(
        container,
        ada.post(f"{path}/transfer", {"owner": bob.email}),
        ada.post(f"{path}/schedules", {"cron": "* * * * *"}),
    )

    assert statuses == [200, 404]


async def test_whoever_gives_a_workflow_away_does_not_change_its_schedule_at_the_same_moment(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    path = f"/workflows/{(await ada.save())['id']}"
    made = (await ada.post(f"{path}/schedules", {"cron": "* * * * *"})).json()
    schedule = f"{path}/schedules/{made['id']}"

    statuses = await meet(
        container,
        ada.post(f"{path}/transfer", {"owner": bob.email}),
        ada.call("PATCH", schedule, json={"enabled": False}),
        ada.call("DELETE", schedule),
    )

    assert statuses == [200, 404, 404]


async def test_a_share_is_taken_back_once(ada: Caller, sign_up: Sign, container: Container) -> None:
    bob = await sign_up("bob@example.com")
    path = f"/workflows/{(await ada.save())['id']}/shares"
    await ada.call("PUT", path, json={"user": bob.email, "role": "viewer"})

    statuses = await meet(
        container, *(who.call("DELETE", f"{path}?user={bob.email}") for who in (ada, bob))
    )

    assert (statuses, _recorded(container, "workflow.unshared")) == ([204, 404], 1)


async def test_a_team_that_is_being_deleted_gets_no_credential_and_no_share(
    ada: Caller, container: Container
) -> None:
    team = (await ada.post("/teams", {"name": "Finance"})).json()["id"]
    path = f"/workflows/{(await ada.save())['id']}/shares"

    statuses = await meet(
        container,
        ada.call("DELETE", f"/teams/{team}"),
        ada.post("/credentials", {"name": "late", "team": team} | SECRET),
        ada.call("PUT", path, json={"team": team, "role": "viewer"}),
    )

    assert statuses == [204, 404, 404]
    with Session(container.engine) as session:
        assert session.exec(select(Credential)).all() == []
        assert session.exec(select(WorkflowShare)).all() == []


async def test_a_credential_is_deleted_once(ada: Caller, container: Container) -> None:
    made = (await ada.post("/credentials", {"name": "old"} | SECRET)).json()
    path = f"/credentials/{made['id']}"

    statuses = await meet(container, ada.call("DELETE", path), ada.call("DELETE", path))

    assert (statuses, _recorded(container, "credential.deleted")) == ([204, 404], 1)


async def _key(caller: Caller) -> dict[str, Any]:
    made = await caller.post("/api-keys", {"name": "CI", "scopes": ["account:write"]})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def test_a_key_makes_a_key_while_its_account_is_closed(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    user_id = (await bob.get("/me")).json()["id"]
    made = await _key(bob)
    program = Caller(bob.http, "", {"X-API-Key": made["key"]})
    of_bob = select(col(ApiKey.id)).where(ApiKey.user_id == user_id)

    statuses = await meet(
        container,
        program.post("/api-keys", {"name": "late", "scopes": ["account:write"]}),
        ada.call("PATCH", f"/admin/users/{user_id}", json={"active": False}),
        hold=lambda connection: connection.execute(of_bob.with_for_update()),
    )

    assert statuses == [201, 200]
    with Session(container.engine) as session:
        assert session.exec(of_bob).all() == []


async def test_an_account_that_is_being_closed_gets_no_key(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    user_id = (await bob.get("/me")).json()["id"]

    statuses = await meet(
        container,
        ada.call("PATCH", f"/admin/users/{user_id}", json={"active": False}),
        bob.post("/api-keys", {"name": "late", "scopes": ["account:write"]}),
    )

    assert statuses == [200, 401]


async def test_a_key_is_deleted_once(ada: Caller, container: Container) -> None:
    path = f"/api-keys/{(await _key(ada))['id']}"

    statuses = await meet(container, ada.call("DELETE", path), ada.call("DELETE", path))

    assert (statuses, _recorded(container, "api_key.deleted")) == ([204, 404], 1)


async def test_of_two_keys_one_is_the_last_that_there_is_room_for(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS", 1)
    drafts = [{"name": name, "scopes": ["account:read"]} for name in ("one", "two")]

    statuses = await meet(container, *(ada.post("/api-keys", draft) for draft in drafts))

    assert statuses == [201, 409]


async def test_of_two_credentials_one_is_the_last_that_there_is_room_for(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MAX_CREDENTIALS", 1)
    team = (await ada.post("/teams", {"name": "Finance"})).json()["id"]

    own, of_team = [
        await meet(
            container,
            *(ada.post("/credentials", {"name": name} | whose | SECRET) for name in ("one", "two")),
        )
        for whose in ({}, {"team": team})
    ]

    assert (own, of_team) == ([201, 409], [201, 409])


async def test_of_two_teams_one_is_the_last_that_there_is_room_for(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "MAX_TEAMS", 1)

    statuses = await meet(container, *(ada.post("/teams", {"name": name}) for name in ("a", "b")))

    assert statuses == [201, 409]


async def test_of_two_teams_that_let_somebody_in_one_is_the_last_that_there_is_room_for(
    ada: Caller, sign_up: Sign, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await sign_up("bob@example.com")
    made = [(await ada.post("/teams", {"name": name})).json()["id"] for name in ("a", "b")]
    monkeypatch.setattr(teams, "MAX_TEAMS", 1)

    statuses = await meet(
        container,
        *(
            ada.call("PUT", f"/teams/{team}/members/{bob.email}", json={"role": "viewer"})
            for team in made
        ),
    )

    assert statuses == [200, 409]


async def test_of_two_shares_with_somebody_one_is_the_last_that_there_is_room_for(
    ada: Caller, sign_up: Sign, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await sign_up("bob@example.com")
    await ada.post("/teams", {"name": "Finance"})
    monkeypatch.setattr(sharing, "MAX_GRANTED", 1)
    paths = [f"/workflows/{(await ada.save())['id']}/shares" for _ in range(2)]

    with_bob, with_team = [
        await meet(
            container,
            *(ada.call("PUT", path, json={"role": "viewer"} | grantee) for path in paths),
        )
        for grantee in ({"user": bob.email}, {"team": "Finance"})
    ]

    assert (with_bob, with_team) == ([200, 409], [200, 409])


async def test_of_two_policies_one_has_the_last_budgets_that_there_is_room_for(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_caps, "MAX_BUDGETS_OF_A_PERSON", 1)
    paths = [f"/workflows/{(await ada.save())['id']}/policy" for _ in range(2)]
    rules = {"budgets": [{"name": "llm_usd", "limit": 1}]}

    statuses = await meet(container, *(ada.call("PUT", path, json=rules) for path in paths))

    assert statuses == [200, 422]


async def test_a_session_is_ended_once(ada: Caller, container: Container) -> None:
    (session,) = (await ada.get("/me/sessions")).json()["items"]
    path = f"/me/sessions/{session['id']}"

    statuses = await meet(container, ada.call("DELETE", path), ada.call("DELETE", path))

    assert (statuses, _recorded(container, "session.ended")) == ([204, 404], 1)


async def test_an_invitation_that_is_being_accepted_is_not_withdrawn(
    ada: Caller, container: Container
) -> None:
    invited = (await ada.post("/admin/invitations", {"role": "member"})).json()
    account = {"email": "bob@example.com", "password": PASSWORD, "invitation": invited["token"]}

    statuses = await meet(
        container,
        ada.http.post("/api/v1/register", json=account),
        ada.call("DELETE", f"/admin/invitations/{invited['id']}"),
    )

    assert (statuses, _recorded(container, "invitation.withdrawn")) == ([201, 404], 0)
    with Session(container.engine) as session:
        assert session.exec(select(Invitation)).all() == []


async def test_whoever_stops_everything_twice_sets_and_lifts_one_switch(
    ada: Caller, container: Container
) -> None:
    path = "/admin/kill_switch?enabled={}"
    on, off = path.format("true"), path.format("false")

    stopped = await meet(container, ada.post(on), ada.post(on))
    with Session(container.engine) as session:
        switches = session.exec(select(KillSwitch)).all()
    going_on = await meet(container, ada.post(off), ada.post(off))

    assert (stopped, len(switches), going_on) == ([200, 200], 1, [200, 200])
    assert _recorded(container, "kill_switch.lifted") == 1


async def test_a_first_sign_in_by_a_provider_meets_a_change_of_the_same_account(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    path = f"/admin/users/{(await bob.get('/me')).json()['id']}"
    identity = Identity("https://id.example.com", "b", bob.email, ("staff",))
    rules = SignInRules(registers=False, roles={"staff": Role.OPERATOR})
    visit = Visit(container.clock.now(), timedelta(days=1))

    async def sign_in_as_bob() -> httpx.Response:
        await asyncio.to_thread(sign_in, container.engine, identity, rules, visit)
        return httpx.Response(200)

    statuses = await meet(
        container,
        ada.call("PATCH", path, json={"role": "viewer"}),
        sign_in_as_bob(),
        hold=lambda connection: connection.execute(
            text("SELECT FROM users WHERE role = 'admin' FOR UPDATE")
        ),
    )

    assert statuses == [200, 200]
