"""API keys: for programs, never wider than who made them, gone when they should be."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import Session, col, select

from app.api.container import Container
from app.core.permissions import SCOPES_OF, Scope
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.audit.entry import SYSTEM
from app.models import ApiKey, User
from app.services.user_admin import UserAdmin
from tests.integration.api.conftest import PASSWORD, Caller, Sign

PATIENCE_SECONDS = 10.0
ALL_OF_A_MEMBER = sorted(SCOPES_OF[Role.MEMBER])


async def _make(caller: Caller, *scopes: str, **fields: Any) -> dict[str, Any]:
    draft = {"name": "CI", "scopes": scopes or ALL_OF_A_MEMBER, **fields}
    answer = await caller.post("/api-keys", draft)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _with(key: str, http: httpx.AsyncClient) -> Caller:
    return Caller(http, "", {"X-API-Key": key})


async def _program(caller: Caller, *scopes: str, **fields: Any) -> Caller:
    return _with((await _make(caller, *scopes, **fields))["key"], caller.http)


async def test_a_key_is_shown_once_and_stored_as_a_hash(ada: Caller, container: Container) -> None:
    made = await _make(ada, "runs:write", "workflows:read")
    listed = await ada.get("/api-keys")

    assert made["key"].startswith(f"ak_{made['id'].replace('-', '')}_")
    assert made["scopes"] == ["runs:write", "workflows:read"]
    assert listed.json()["items"] == [{name: made[name] for name in made if name != "key"}]
    with Session(container.engine) as session:
        stored = session.exec(select(ApiKey)).one()
    assert made["key"] not in str(stored.model_dump())
    assert made["key"][-43:] not in str(stored.model_dump())


async def test_a_key_works_wherever_a_token_does(ada: Caller) -> None:
    program = await _program(ada)

    workflow = await program.save()
    started = await program.post(f"/workflows/{workflow['id']}/runs")
    event = await program.post("/events", {"type": "x"})
    called = await program.post(f"/webhooks/{workflow['id']}", {"n": 1})

    assert (await program.get("/me")).json()["email"] == ada.email
    assert [answer.status_code for answer in (started, event, called)] == [202] * 3
    runs = (await program.get("/runs")).json()["items"]
    assert {run["workflow_id"] for run in runs} == {workflow["id"]}


async def test_a_key_may_do_what_its_scopes_say_and_no_more(ada: Caller) -> None:
    workflow = await ada.save()
    reader = await _program(ada, "workflows:read")

    answers = [
        await reader.get(f"/workflows/{workflow['id']}"),
        await reader.get("/runs"),
        await reader.post(f"/workflows/{workflow['id']}/runs"),
        await reader.post("/events", {"type": "x"}),
        await reader.post(f"/webhooks/{workflow['id']}"),
        await reader.post("/api-keys", {"name": "x", "scopes": ["workflows:read"]}),
        await reader.get("/runs/stream"),
    ]

    assert [answer.status_code for answer in answers] == [200, *[403] * 6]
    assert {answer.json()["code"] for answer in answers[1:]} == {"permission_denied"}
    assert "`runs:write`" in answers[2].json()["detail"]
    assert "`events:write`" in answers[3].json()["detail"]


async def test_a_webhook_still_takes_its_token_beside_a_key_that_may_not(ada: Caller) -> None:
    workflow = await ada.save()
    reader = await _program(ada, "workflows:read")
    path = workflow["webhook_url"].partition("/api/v1")[2]

    answer = await reader.post(path)

    assert answer.status_code == 202


async def test_somebody_elses_key_is_nobody_to_a_webhook(ada: Caller, sign_up: Sign) -> None:
    workflow = await ada.save()
    bob = await _program(await sign_up("bob@example.com"))

    answers = [
        await bob.post(f"/webhooks/{workflow['id']}"),
        await bob.post(f"/workflows/{workflow['id']}/runs"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.usefixtures("ada")
async def test_a_key_cannot_have_more_than_the_role(sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")

    answer = await bob.post("/api-keys", {"name": "x", "scopes": ["runs:read", "users:write"]})

    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("/scopes/1", "scope_not_allowed")
    assert "`runs:write`" in problem["detail"]
    assert "take some of" in problem["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"name": ""}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00"}, "/expires_at"),
        ({"owner": "x"}, "/owner"),
    ],
)
async def test_a_key_that_does_not_fit_is_refused(
    ada: Caller, fields: dict[str, Any], pointer: str
) -> None:
    draft = {"name": "x", "scopes": ["runs:read"], **fields}

    answer = await ada.post("/api-keys", draft)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_key_makes_no_key_wider_than_itself(ada: Caller) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()  # noqa: TID251 - the API's own clock
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()  # noqa: TID251 - the API's own clock
    maker = await _program(ada, "account:write", "runs:read", expires_at=soon)

    answers = [
        await maker.post("/api-keys", {"name": "x", "scopes": scopes, "expires_at": end})
        for scopes, end in (
            (["runs:write"], soon),
            (["runs:read"], None),
            (["runs:read"], later),
            (["runs:read"], soon),
        )
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 422, 201]
    assert [answer.json()["errors"][0]["code"] for answer in answers[:3]] == [
        "scope_not_allowed",
        "outlives_its_maker",
        "outlives_its_maker",
    ]


async def test_a_key_never_becomes_a_session(ada: Caller) -> None:
    program = await _program(ada)

    answers = [
        await program.post("/me/sessions/revoke"),
        await program.post(
            "/me/password", {"current_password": PASSWORD, "new_password": "another battery"}
        ),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert (await ada.get("/me")).status_code == 200


async def test_a_deleted_key_ends_at_once_with_those_that_it_made(ada: Caller) -> None:
    made = await _make(ada, "account:write", "account:read")
    maker = _with(made["key"], ada.http)
    child = await _program(maker, "account:read")
    assert (await child.get("/me")).status_code == 200

    deleted = await ada.call("DELETE", f"/api-keys/{made['id']}")

    assert deleted.status_code == 204
    assert (await maker.get("/api-keys")).status_code == 401
    assert (await child.get("/me")).status_code == 401
    assert (await ada.get("/api-keys")).json()["items"] == []
    assert (await ada.call("DELETE", f"/api-keys/{made['id']}")).status_code == 404


async def test_an_expired_key_is_refused_everywhere(ada: Caller, container: Container) -> None:
    workflow = await ada.save()
    program = await _program(ada)
    with Session(container.engine) as session:
        past = container.clock.now() - timedelta(seconds=5)
        session.execute(update(ApiKey).values(expires_at=past))
        session.commit()

    answers = [
        await program.get("/me"),
        await program.post(f"/workflows/{workflow['id']}/runs"),
        await program.post("/events", {"type": "x"}),
        await program.post(f"/webhooks/{workflow['id']}"),
    ]

    assert [answer.status_code for answer in answers] == [401] * 4


async def test_unknown_wrong_and_garbage_keys_look_alike(ada: Caller) -> None:
    key = (await _make(ada))["key"]
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    unknown = f"ak_{'0' * 12}7{'0' * 19}_{key[-43:]}"

    answers = [
        await _with(text, ada.http).get("/me") for text in (wrong, unknown, "garbage", "x" * 5000)
    ]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert len({answer.text for answer in answers}) == 1


async def test_hostile_keys_on_the_hot_paths_are_401_and_never_500(ada: Caller) -> None:
    workflow = await ada.save()
    good = (await _make(ada))["key"]
    texts = ["", "garbage", "ak_", "\xe9", "'; --", good[:-1], good + "A", good.upper(), "x" * 9000]

    for path in (f"/workflows/{workflow['id']}/runs", "/events", f"/webhooks/{workflow['id']}"):
        answers = [
            await ada.http.post(
                f"/api/v1{path}",
                json={"type": "x"} if path == "/events" else {},
                headers={"X-API-Key": text.encode("latin-1")},
            )
            for text in texts
        ]
        assert [answer.status_code for answer in answers] == [401] * len(texts)


@pytest.mark.usefixtures("ada")
async def test_a_key_loses_what_its_account_loses(sign_up: Sign, container: Container) -> None:
    bob = await sign_up("bob@example.com")
    workflow = await bob.save()
    program = await _program(bob)
    with Session(container.engine) as session:
        session.execute(update(User).where(col(User.email) == bob.email).values(role=Role.VIEWER))
        session.commit()

    answers = [
        await program.get("/workflows"),
        await program.post(f"/workflows/{workflow['id']}/runs"),
        await bob.post(f"/workflows/{workflow['id']}/runs"),
        await bob.post("/events", {"type": "x"}),
        await bob.post(f"/webhooks/{workflow['id']}"),
    ]

    assert [answer.status_code for answer in answers] == [200, *[403] * 4]
    assert "role `viewer`" in answers[2].json()["detail"]


@pytest.mark.usefixtures("ada")
async def test_a_closed_account_has_no_keys(sign_up: Sign, container: Container) -> None:
    bob = await sign_up("bob@example.com")
    program = await _program(bob)
    with transaction(container.engine) as session:
        admin = UserAdmin(session, SYSTEM)
        user_id = admin.with_email(bob.email).id
        admin.change(user_id, active=False)
        admin.change(user_id, active=True)

    assert (await program.get("/me")).status_code == 401
    assert (await bob.get("/me")).status_code == 401


async def test_the_last_use_is_noted_at_most_once_a_minute(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    program = await _program(ada)

    await program.post(f"/workflows/{workflow['id']}/runs")
    first = await _last_use(ada)
    for _ in range(3):
        await program.post(f"/workflows/{workflow['id']}/runs")
    await program.get("/me")

    assert await _last_use(ada) == first
    with Session(container.engine) as session:
        old = container.clock.now() - timedelta(minutes=2)
        session.execute(update(ApiKey).values(last_used_at=old))
        session.commit()
    await program.get("/me")
    await _until_used_after(ada, first)


async def _last_use(caller: Caller) -> str:
    return await _until_used_after(caller, "")


async def _until_used_after(caller: Caller, time: str) -> str:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        (key,) = (await caller.get("/api-keys")).json()["items"]
        used: str = key["last_used_at"] or ""
        if used > time:
            return used
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_an_access_token_goes_before_a_key(ada: Caller) -> None:
    key = (await _make(ada, "runs:read"))["key"]

    answers = [
        await ada.get("/workflows", headers={"X-API-Key": key}),
        await ada.get("/me", headers={"X-API-Key": "garbage"}),
        await ada.get("/me", headers={"Authorization": "Bearer x", "X-API-Key": key}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 401]


async def test_there_is_a_limit_to_keys(ada: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.api_keys.MAX_KEYS", 1)
    await _make(ada)

    answer = await ada.post("/api-keys", {"name": "x", "scopes": ["runs:read"]})

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_swagger_offers_both_ways_in(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()

    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"] | {"description": ""} == {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "",
    }
    both: list[dict[str, list[str]]] = [{"OAuth2PasswordBearer": []}, {"ApiKey": []}]
    assert document["paths"]["/api/v1/workflows"]["get"]["security"] == both
    webhook = document["paths"]["/api/v1/webhooks/{workflow_id}"]["post"]["security"]
    assert {"ApiKey": []} in webhook


async def test_an_administrators_key_may_be_given_every_scope(ada: Caller) -> None:
    program = await _program(ada, *Scope)

    answers = [await program.get(path) for path in ("/admin/users", "/admin/status", "/workflows")]

    assert [answer.status_code for answer in answers] == [200] * 3
