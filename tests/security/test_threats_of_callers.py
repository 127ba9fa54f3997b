"""Threats by whoever calls: other tenants, forged tokens, guessed passwords, replayed webhooks. docs/security.md lists them all."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.core.security import passwords
from app.core.security.tokens import issue_token
from app.core.statuses import WebhookScheme
from app.engine.delivery.process import WorkerProcess
from app.models import Run, User, Workflow
from tests.integration.api.conftest import KEY, PASSWORD, Caller
from tests.integration.api.test_access import PUBLIC, _declares_a_scope, _object_routes, _routes
from tests.security.runs import ended, run_of, start, step, until, value_of, workflow_of
from tests.unit.api.test_tokens import CLAIMS, HEADER, NESTED, _forge
from tests.unit.egress.loopback import reply, serve
from tests.unit.webhooks.signing import BODY, SECRETS, headers_of

JSON = {"content-type": "application/json"}
APPROVAL = step("approval", approvers=["cfo@example.com"], prompt="Ship?")


def _now() -> int:
    return int(SystemClock().now().timestamp())


def _statuses(answers: Iterable[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def test_nobody_uses_the_credential_of_somebody_else(
    ada: Caller, bob: Caller, container: Container, worker: WorkerProcess
) -> None:
    """More ways: tests/integration/api/test_credentials.py and tests/integration/engine/test_vault.py."""
    del worker
    crm = {"name": "crm", "kind": "bearer", "data": {"token": "canary-4c7a19"}, "allowed_hosts": ["127.0.0.1"]}  # fmt: skip
    kept = (await ada.post("/credentials", crm)).json()
    address = f"/credentials/{kept['id']}"
    calls = [step("http_request_node", url="http://127.0.0.1:9/", credential=name) for name in (kept["id"], "crm")]  # fmt: skip
    read = step("http_request_node", url="http://127.0.0.1:9/", headers={"X-Key": "${{ secrets.crm }}"})  # fmt: skip

    seen = [await bob.get(address), await bob.call("PUT", address, json=crm), await bob.call("DELETE", address)]  # fmt: skip
    saved = [
        await bob.post("/workflows", {"name": "x", "definition": {"steps": [one]}})
        for one in (*calls, read)
    ]
    # As if Bob's definition had been saved without a check.
    hers = await workflow_of(ada, calls[1])
    with Session(container.engine) as session:
        workflow = session.exec(select(Workflow).where(Workflow.id == hers["id"])).one()
        workflow.owner_id = session.exec(select(User.id).where(User.email == bob.email)).one()
        session.add(workflow)
        session.commit()
    run = await ended(bob, await start(bob, hers))

    assert _statuses(seen) == [404] * 3
    assert _statuses(saved) == [422] * 3
    assert {answer.json()["errors"][0]["code"] for answer in saved} == {"unknown_credential"}
    assert (run["status"], run["error"]["code"]) == ("failed", "unknown_credential")
    assert "canary" not in (await ada.get(address)).text


async def test_a_credential_goes_to_its_own_hosts_only(ada: Caller, worker: WorkerProcess) -> None:
    """Redirects and nodes of others: tests/integration/engine/test_vault.py."""
    del worker
    crm = {"name": "crm", "kind": "bearer", "data": {"token": "canary-4c7a19"}, "allowed_hosts": ["api.example.com"]}  # fmt: skip
    await ada.post("/credentials", crm)
    async with serve(reply()) as elsewhere:
        call = step("http_request_node", url="${{ input }}", credential="crm")

        run = await run_of(ada, call, value=elsewhere.url())

    assert (run["status"], run["error"]["code"]) == ("failed", "host_not_allowed")
    assert elsewhere.connections == 0


async def test_nobody_reaches_what_belongs_to_another(
    ada: Caller, bob: Caller, worker: WorkerProcess
) -> None:
    """Every route by every role: tests/integration/api/test_permission_matrix.py, test_access.py and tests/contract."""
    del worker
    workflow = await workflow_of(ada, APPROVAL)
    run_id = await start(ada, workflow)
    approval_id = (await until(ada, run_id, "waiting"))["waiting_for"][0]["approval_id"]
    run, path = f"/runs/{run_id}", f"/workflows/{workflow['id']}"
    reads = ["", "/logs", "/stream", "/evidence", "/evidence/bundle", "/steps/approval/attempts"]
    writes = ["/cancel", "/pause", "/resume", "/replay", "/steps/approval/retry"]

    answers = {
        **{one: await bob.get(run + one) for one in reads},
        **{one: await bob.post(run + one, {}) for one in writes},
        "approval": await bob.get(f"/approvals/{approval_id}"),
        "approve": await bob.post(f"/approvals/{approval_id}/approve"),
        "workflow": await bob.get(path),
        "start": await bob.post(f"{path}/runs", {}),
        "webhook": await bob.post(f"/webhooks/{workflow['id']}", {}),
        "delete": await bob.call("DELETE", path),
    }

    told = {name: (answer.status_code, answer.json()["code"]) for name, answer in answers.items()}
    assert told == dict.fromkeys(answers, (404, "not_found"))
    assert (await ada.get(run)).json()["status"] == "waiting"
    assert (await bob.get("/runs")).json()["items"] == []


async def test_a_query_that_forgets_to_ask_whose_finds_nothing_of_another(
    ada: Caller, bob: Caller, container: Container
) -> None:
    """Every table: tests/integration/db/test_tenancy.py. SQLite has no second wall: docs/security.md."""
    await ada.save()
    with Session(container.engine) as session:
        bob_id = session.exec(select(User.id).where(User.email == bob.email)).one()
        container.tenancy.confine(session, [bob_id], bob.email)
        seen = len(session.exec(select(Workflow)).all()) + len(session.exec(select(Run)).all())
        walls = container.engine.dialect.name == "postgresql"
        forced = (
            session.execute(text("SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname IN ('workflows', 'runs', 'credentials')")).scalar_one()
            if walls
            else False
        )  # fmt: skip

    assert (seen, forced) == ((0, True) if walls else (1, False))


async def test_no_address_is_public_by_its_looks(ada: Caller) -> None:
    """All routes: tests/integration/api/test_access.py."""
    workflow = await ada.save(name="health")
    run_id = (await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    api = "http://test/api/v1"
    paths = {
        f"{api}/workflows/health": 401,
        f"{api}/workflows/{workflow['id']}": 401,
        f"{api}/runs/{run_id}/stream": 401,
        f"{api}/workflows/health/runs": 401,
        f"{api}/me?/health": 401,
        f"{api}/me#/health": 401,
        "http://test//health": 404,
        "http://test/health/../api/v1/me/": 404,
        f"{api}/health": 404,
        f"{api}//me": 404,
        f"{api}/me/": 404,
        f"{api}/me%2f..%2f..%2f..%2fhealth": 404,
        "http://test/API/v1/me": 404,
        f"{api}/webhooks/{workflow['id']}/": 404,
    }

    answers = {path: (await ada.http.get(path)).status_code for path in paths}
    called = await ada.http.post(f"{api}/webhooks/{workflow['id']}", json={})
    open_routes = {
        route.path
        for route in _routes()
        if not (hasattr(route, "dependant") and _declares_a_scope(route.dependant))
    }

    assert answers == paths
    assert called.status_code == 401
    assert open_routes == PUBLIC
    assert len(_object_routes()) > 30


async def test_a_hostile_token_is_nobody(ada: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more of them: tests/unit/api/test_tokens.py."""
    me, now = (await ada.get("/me")).json()["id"], _now()
    claims = CLAIMS | {"sub": me, "ver": 0, "iat": now, "exp": now + 60}
    good = _forge(HEADER, claims, KEY)
    hostile = [
        _forge({"alg": "none"}, claims, KEY),
        _forge({"alg": "HS512"}, claims, KEY),
        _forge({"typ": "JWT"}, claims, KEY),
        _forge(HEADER | {"crit": ["x"]}, claims, KEY),
        _forge(HEADER | {"jwk": {}}, claims, KEY),
        _forge(NESTED, claims, KEY),
        _forge(HEADER, claims | {"exp": str(now + 60)}, KEY),
        _forge(HEADER, claims | {"exp": float(now + 60)}, KEY),
        _forge(HEADER, claims | {"iat": now + 3_600, "exp": now + 7_200}, KEY),
        _forge(HEADER, {"sub": me}, KEY),
        _forge(HEADER, claims | {"x": "y" * 4_096}, KEY),
        _forge(HEADER, claims, KEY[:-1]),
        good.rpartition(".")[0] + ".",
        issue_token(KEY, me, 1, SystemClock().now(), 60),
        "\xff.\xff.\xff",
    ]

    answers = [await _with_token(ada, token) for token in [good, *hostile]]
    await ada.post("/me/sessions/revoke")
    monkeypatch.setenv("SECRET_KEY", "x" * 31)

    assert _statuses(answers) == [200] + [401] * len(hostile)
    assert (await _with_token(ada, good)).status_code == 401
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        load_settings()


async def _with_token(caller: Caller, token: str) -> httpx.Response:
    headers = {b"Authorization": b"Bearer " + token.encode("latin-1")}
    return await caller.http.get("/api/v1/me", headers=headers)


async def test_passwords_cannot_be_guessed(
    ada: Caller, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brake's other ways: tests/integration/api/test_account.py. The cost of a hash: tests/unit/api/test_passwords.py."""
    verified: list[str] = []
    verify = passwords._HASHER.verify

    def counted(password: str, stored: str) -> bool:
        verified.append(stored)
        return bool(verify(password, stored))

    monkeypatch.setattr(passwords._HASHER, "verify", counted)
    names = ("ada@example.com", "eve@example.com")

    wrong = [await _log_in(ada, name, "not the one") for name in names]
    looked_at = len(verified)
    more = [await _log_in(ada, names[0], "not the one") for _ in range(4)]
    sixth = await _log_in(ada, names[0], PASSWORD)
    lengths = [
        await ada.http.post("/api/v1/register", json={"email": f"{n}@x.org", "password": "p" * n})
        for n in (7, 8, 1_024, 1_025)
    ]

    assert _statuses(wrong + more) == [401] * 6
    assert (wrong[0].text, looked_at) == (wrong[1].text, 2)
    assert (sixth.status_code, int(sixth.headers["retry-after"]) > 0) == (429, True)
    assert _statuses(lengths) == [422, 201, 201, 422]
    with Session(container.engine) as session:
        hashes = session.exec(select(User.password_hash)).all()
    assert all((one or "").startswith("$argon2id$") for one in hashes)
    assert passwords.MAX_AT_ONCE == 4


async def _log_in(caller: Caller, name: str, password: str) -> httpx.Response:
    form = {"username": name, "password": password}
    return await caller.http.post("/api/v1/login", data=form)


async def test_an_address_cannot_try_one_account_after_the_other(ada: Caller) -> None:
    tried = [await _log_in(ada, f"{n}@example.com", "not the one") for n in range(21)]

    assert _statuses(tried) == [401] * 20 + [429]


@pytest.mark.parametrize("scheme", [*WebhookScheme])
async def test_a_webhook_is_neither_forged_nor_replayed(
    ada: Caller, container: Container, scheme: WebhookScheme
) -> None:
    """Every forgery, rotation and source networks: tests/integration/api/test_webhook_auth.py, tests/unit/webhooks."""
    rules = {"auth": "signature", "scheme": scheme, "secret": SECRETS[scheme]}
    saved = await ada.save(webhook=rules)
    right = headers_of(scheme, BODY, _now())
    name = next(header for header in right if "signature" in header)
    forged: list[tuple[dict[str, Any], bytes]] = [
        ({}, BODY),
        (right, BODY.replace(b": ", b":")),
        (right, b"{}"),
        (headers_of(scheme, BODY, _now(), key=b"another key"), BODY),
        (right | {name: "\x01v1,=t=,v0=\xff"}, BODY),
        (right | {name: right[name][:-1]}, BODY),
    ]
    if scheme in {WebhookScheme.STANDARD, WebhookScheme.STRIPE, WebhookScheme.SLACK}:
        forged += [(headers_of(scheme, BODY, _now() + shift), BODY) for shift in (-302, 302)]

    refused = [await _deliver(ada, saved, headers, body) for headers, body in forged]
    taken = await asyncio.gather(*(_deliver(ada, saved, right, BODY) for _ in range(20)))

    assert _statuses(refused) == [401] * len(forged)
    assert len({answer.text for answer in refused}) == 1
    assert sorted(_statuses(taken)) == [*[200] * 19, 202]
    with Session(container.engine) as session:
        assert len(session.exec(select(Run)).all()) == 1


async def _deliver(
    caller: Caller, saved: dict[str, Any], headers: dict[str, str], body: bytes
) -> httpx.Response:
    sent = {name.encode(): value.encode("latin-1") for name, value in (JSON | headers).items()}
    return await caller.http.post(saved["webhook_url"], content=body, headers=sent)


async def test_a_webhook_token_is_long_and_not_in_the_database(
    ada: Caller, container: Container
) -> None:
    saved = await workflow_of(ada, value_of("1"))
    address, _, token = saved["webhook_url"].partition("?token=")
    post = ada.http.post

    answers = [
        await post(address, json={}),
        await post(f"{address}?token={token[:-1]}", json={}),
        await post(f"{address}?token={token.swapcase()}", json={}),
        await post(address, json={}, headers={"X-Webhook-Token": token}),
    ]
    rotated = (await ada.post(f"/workflows/{saved['id']}/webhook/rotate")).json()

    assert _statuses(answers) == [401, 401, 401, 202]
    assert len(token) == 43
    assert token not in rotated["webhook_url"]
    with Session(container.engine) as session:
        stored = str(session.execute(text("SELECT * FROM workflows")).all())
    assert token not in stored


async def test_api_keys_and_sessions_are_kept_as_hashes_and_can_be_ended(
    ada: Caller, container: Container
) -> None:
    """Scopes, families of refresh tokens and limits: tests/integration/api/test_api_keys.py and test_sessions.py."""
    key = (await ada.post("/api-keys", {"name": "ci", "scopes": ["runs:read"]})).json()
    session = (await _log_in(ada, ada.email, PASSWORD)).json()
    with container.engine.connect() as connection:
        stored = "".join(
            str(connection.execute(text(f"SELECT * FROM {table}")).all())
            for table in ("api_keys", "sessions")
        )

    named, refresh = {"X-API-Key": key["key"]}, {"refresh_token": session["refresh_token"]}
    allowed = await ada.http.get("/api/v1/runs", headers=named)
    too_much = await ada.http.get("/api/v1/credentials", headers=named)
    await ada.call("DELETE", f"/api-keys/{key['id']}")
    gone = await ada.http.get("/api/v1/runs", headers=named)
    turns = [await ada.http.post("/api/v1/token/refresh", json=refresh) for _ in range(2)]

    assert _statuses([allowed, too_much, gone, *turns]) == [200, 403, 401, 200, 401]
    assert key["key"] not in stored
    assert session["refresh_token"] not in stored
    assert 0 < session["expires_in"] <= 3_600
