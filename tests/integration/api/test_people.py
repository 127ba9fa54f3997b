"""What administrators do: roles, closed accounts, invitations."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import Session

from app.api.container import Container
from app.core.config import Settings
from app.core.ids import new_id
from app.core.permissions import SCOPES_OF, Scope
from app.core.statuses import Role
from app.models import Invitation
from tests.integration.api.conftest import PASSWORD, Caller, Sign, client_of, log_in, running


async def _id_of(caller: Caller) -> str:
    return str((await caller.get("/me")).json()["id"])


async def _change(admin: Caller, caller: Caller, **changes: Any) -> httpx.Response:
    return await admin.call("PATCH", f"/admin/users/{await _id_of(caller)}", json=changes)


async def _invite(admin: Caller, **fields: Any) -> str:
    answer = await admin.post("/admin/invitations", fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


async def _register(http: httpx.AsyncClient, email: str, **fields: Any) -> httpx.Response:
    account = {"email": email, "password": PASSWORD, **fields}
    return await http.post("/api/v1/register", json=account)


async def test_administrators_see_all_accounts(ada: Caller, sign_up: Sign) -> None:
    await sign_up("bob@example.com")

    people = (await ada.get("/admin/users?limit=1")).json()
    rest = (await ada.get(f"/admin/users?cursor={people['next_cursor']}")).json()

    assert [(one["email"], one["role"], one["active"]) for one in people["items"]] == [
        ("bob@example.com", "member", True)
    ]
    assert [one["email"] for one in rest["items"]] == ["ada@example.com"]
    assert "password_hash" not in str(people)


async def test_a_new_role_counts_from_the_next_request(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    before = await bob.get("/admin/users")

    changed = await _change(ada, bob, role="operator")

    assert before.status_code == 403
    assert (changed.status_code, changed.json()["role"]) == (200, "operator")
    assert (await bob.get("/admin/users")).status_code == 200
    assert (
        await bob.call("PATCH", f"/admin/users/{await _id_of(ada)}", json={})
    ).status_code == 403


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.OPERATOR])
async def test_each_role_may_what_its_scopes_say(ada: Caller, sign_up: Sign, role: Role) -> None:
    bob = await sign_up("bob@example.com")
    await _change(ada, bob, role=role)

    statuses = {
        Scope.WORKFLOWS_READ: (await bob.get("/workflows")).status_code,
        Scope.WORKFLOWS_WRITE: (await bob.post("/workflows", {})).status_code,
        Scope.RUNS_WRITE: (await bob.post(f"/runs/{new_id()}/cancel")).status_code,
        Scope.OPERATIONS_READ: (await bob.get("/admin/status")).status_code,
        Scope.USERS_READ: (await bob.get("/admin/users")).status_code,
        Scope.USERS_WRITE: (await bob.post("/admin/invitations", {})).status_code,
    }

    allowed = {scope for scope, status in statuses.items() if status != 403}
    assert allowed == SCOPES_OF[role] & statuses.keys()


async def test_a_closed_account_ends_at_once_and_can_be_opened_again(
    ada: Caller, sign_up: Sign
) -> None:
    bob = await sign_up("bob@example.com")
    workflow = await bob.save()

    closed = await ada.call(
        "PATCH", f"/admin/users/{(bob_id := await _id_of(bob))}", json={"active": False}
    )

    assert (closed.status_code, closed.json()["active"]) == (200, False)
    assert (await bob.get("/me")).status_code == 401
    assert (await bob.post(f"/workflows/{workflow['id']}/runs")).status_code == 401
    assert (await bob.post("/events", {"type": "x"})).status_code == 401
    again = await ada.http.post("/api/v1/login", data={"username": bob.email, "password": PASSWORD})
    assert (again.status_code, "closed" in again.json()["detail"]) == (401, True)
    await ada.call("PATCH", f"/admin/users/{bob_id}", json={"active": True})
    await log_in(ada.http, bob.email)
    assert (await bob.get("/me")).status_code == 401


@pytest.mark.parametrize("changes", [{"role": "member"}, {"active": False}])
async def test_the_last_administrator_stays(
    ada: Caller, sign_up: Sign, changes: dict[str, Any]
) -> None:
    bob = await sign_up("bob@example.com")
    bob_id = await _id_of(bob)
    await ada.call("PATCH", f"/admin/users/{bob_id}", json={"role": "admin"})
    await ada.call("PATCH", f"/admin/users/{bob_id}", json={"active": False})

    refused = await _change(ada, ada, **changes)

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await _change(ada, ada, role="admin", active=True)).status_code == 200
    assert (await ada.get("/admin/users")).status_code == 200


async def test_of_two_administrators_who_demote_each_other_one_stays(
    ada: Caller, sign_up: Sign
) -> None:
    bob = await sign_up("bob@example.com")
    await _change(ada, bob, role="admin")
    ids = {caller.email: await _id_of(caller) for caller in (ada, bob)}

    answers = await asyncio.gather(
        ada.call("PATCH", f"/admin/users/{ids[bob.email]}", json={"role": "member"}),
        bob.call("PATCH", f"/admin/users/{ids[ada.email]}", json={"role": "member"}),
    )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([200, 409], [200, 403])


async def test_whom_nobody_knows_cannot_be_changed(ada: Caller) -> None:
    paths = (f"/admin/users/{new_id()}", "/admin/users/7")

    statuses = [(await ada.call("PATCH", path, json={})).status_code for path in paths]

    assert statuses == [404, 404]


async def test_an_invitation_makes_one_account_with_its_role(ada: Caller) -> None:
    token = await _invite(ada, role="operator")

    first = await _register(ada.http, "bob@example.com", invitation=token)
    second = await _register(ada.http, "eve@example.com", invitation=token)

    assert (first.status_code, first.json()["role"]) == (201, "operator")
    assert (second.status_code, second.json()["code"]) == (403, "permission_denied")
    assert (await ada.get("/admin/invitations")).json()["items"] == []


async def test_an_invitation_lets_in_while_registration_is_closed(settings: Settings) -> None:
    closed = settings.model_copy(update={"registration": "closed"})
    async with running(settings) as app, client_of(app) as http:
        await _register(http, "ada@example.com")
        ada = Caller(http, "ada@example.com", await log_in(http, "ada@example.com"))
        token = await _invite(ada)
    async with running(closed) as app, client_of(app) as http:
        answers = [
            await _register(http, "bob@example.com"),
            await _register(http, "bob@example.com", invitation="inv_made-up"),
            await _register(http, "bob@example.com", invitation=token),
        ]

    assert [answer.status_code for answer in answers] == [403, 403, 201]


async def test_an_invitation_for_one_address_is_for_no_other(ada: Caller) -> None:
    token = await _invite(ada, email="Bob@example.com")

    eve = await _register(ada.http, "eve@example.com", invitation=token)
    bob = await _register(ada.http, "BOB@example.com", invitation=token)

    assert [eve.status_code, bob.status_code] == [403, 201]


async def test_an_address_that_is_taken_does_not_use_the_invitation_up(ada: Caller) -> None:
    token = await _invite(ada)

    taken = await _register(ada.http, ada.email, invitation=token)
    free = await _register(ada.http, "bob@example.com", invitation=token)

    assert [taken.status_code, free.status_code] == [409, 201]


async def test_an_expired_or_withdrawn_invitation_does_not_count(
    ada: Caller, container: Container
) -> None:
    withdrawn, expired = await _invite(ada), await _invite(ada)
    listed = (await ada.get("/admin/invitations")).json()["items"]
    gone = await ada.call("DELETE", f"/admin/invitations/{listed[1]['id']}")
    with Session(container.engine) as session:
        session.execute(update(Invitation).values(expires_at=container.clock.now()))
        session.commit()

    answers = [
        await _register(ada.http, "bob@example.com", invitation=token)
        for token in (withdrawn, expired)
    ]

    assert gone.status_code == 204
    assert "token" not in listed[0]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert (await ada.get("/admin/invitations")).json()["items"] == []


async def test_of_many_who_accept_one_invitation_at_once_one_does(ada: Caller) -> None:
    token = await _invite(ada)

    answers = await asyncio.gather(
        *(_register(ada.http, f"u{n}@example.com", invitation=token) for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[403] * 5]


@pytest.mark.parametrize(
    "fields", [{"role": "king"}, {"email": "nobody"}, {"expires_in_seconds": 59}, {"x": 1}]
)
async def test_an_invitation_that_does_not_fit_is_refused(
    ada: Caller, fields: dict[str, Any]
) -> None:
    answer = await ada.post("/admin/invitations", fields)

    assert answer.status_code == 422
