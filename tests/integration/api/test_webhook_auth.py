"""Who may call a webhook: signatures of every scheme, API keys, addresses, and secrets that are replaced."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from sqlmodel import col

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.security.encryption import KeyRing
from app.core.security.webhook_signatures import signing_key
from app.core.statuses import WebhookScheme
from app.engine.deliveries import expire_deliveries
from app.models import WebhookDelivery, Workflow
from app.services.webhook_secrets import WebhookSecrets, reencrypt
from tests.integration.api.conftest import DEFINITION, Caller, Sign, running
from tests.unit.webhooks.signing import BODY, SECRETS, headers_of

JSON = {"content-type": "application/json"}
SCHEMES = [*WebhookScheme]
TIMED = [WebhookScheme.STANDARD, WebhookScheme.STRIPE, WebhookScheme.SLACK]
HMAC = {"auth": "signature", "scheme": "hmac", "secret": SECRETS[WebhookScheme.HMAC]}


def _now() -> int:
    return int(SystemClock().now().timestamp())


def _settings(scheme: WebhookScheme, **more: Any) -> dict[str, Any]:
    return {"auth": "signature", "scheme": scheme, "secret": SECRETS[scheme]} | more


async def _call(
    http: httpx.AsyncClient, saved: dict[str, Any], headers: dict[str, str], body: bytes = BODY
) -> httpx.Response:
    return await http.post(saved["webhook_url"], content=body, headers=JSON | headers)


def _signed(scheme: WebhookScheme, secret: str | None = None, **more: Any) -> dict[str, str]:
    key = None if secret is None else signing_key(scheme, secret)
    return headers_of(scheme, more.pop("body", BODY), more.pop("time", _now()), key=key, **more)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_signed_call_starts_a_run_and_its_repetition_none(
    ada: Caller, scheme: WebhookScheme
) -> None:
    saved = await ada.save(webhook=_settings(scheme))
    headers = _signed(scheme)

    first = await _call(ada.http, saved, headers)
    again = await _call(ada.http, saved, headers | {"Idempotency-Key": "another"})

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json() | {"duplicate": True}
    assert (await ada.get(f"/runs/{first.json()['run_id']}")).json()["input"] == orjson.loads(BODY)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_is_not_signed_with_this_secret_is_refused(
    ada: Caller, scheme: WebhookScheme
) -> None:
    saved = await ada.save(webhook=_settings(scheme))
    token = (await ada.save())["webhook_url"].partition("?")[2]
    right = _signed(scheme)
    named = next(name for name in right if "signature" in name)
    other = "whsec_" + "A" * 43 + "="
    wrong = {
        "missing": {},
        "a token": {"X-Webhook-Token": token.removeprefix("token=")},
        "another secret": _signed(scheme, other),
        "another body": _signed(scheme, body=b"{}"),
        "garbage": right | {named: "\x01v1,=ÿ t=,v0="},
        "huge": right | {named: "v1," * 9_000},
        "cut": right | {named: right[named][:-2]},
        "doubled": right | {named: f"{right[named]}x{right[named]}x"},
        "another's bearer": right | {named: "", "Authorization": "Bearer x.y.z"},
    }
    if scheme in TIMED:
        wrong |= {
            "old": _signed(scheme, time=_now() - 302),
            "future": _signed(scheme, time=_now() + 302),
            "no time": _signed(scheme, time="soon"),
        }

    answers = {
        name: await _call(ada.http, saved, {k: v.encode("latin-1") for k, v in headers.items()})
        for name, headers in wrong.items()
    }
    formatted = await _call(ada.http, saved, right, orjson.dumps(orjson.loads(BODY)))
    broken = await _call(ada.http, saved, {}, b"{")

    told = {name: (answer.status_code, answer.json()["detail"]) for name, answer in answers.items()}
    assert {status for status, _ in told.values()} == {401}
    assert len({detail for _, detail in told.values()}) == 1
    assert (formatted.status_code, broken.status_code) == (401, 401)
    assert (await ada.get("/runs")).json()["items"] == []


async def test_only_whoever_may_call_is_told_that_the_body_is_broken(ada: Caller) -> None:
    saved = await ada.save(webhook=HMAC)
    body = b'{"a": NaN}'

    signed = await _call(ada.http, saved, _signed(WebhookScheme.HMAC, body=body), body)
    unsigned = await _call(ada.http, saved, {}, body)
    again = await _call(ada.http, saved, _signed(WebhookScheme.HMAC, body=body), body)

    assert (signed.status_code, signed.json()["code"]) == (400, "malformed_body")
    assert (unsigned.status_code, again.status_code) == (401, 400)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_twenty_deliveries_at_once_are_one_run(ada: Caller, scheme: WebhookScheme) -> None:
    saved = await ada.save(webhook=_settings(scheme))
    headers = _signed(scheme)

    answers = await asyncio.gather(*(_call(ada.http, saved, headers) for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [*[200] * 19, 202]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert len((await ada.get("/runs")).json()["items"]) == 1


async def test_a_replay_under_another_delivery_id_is_refused(ada: Caller) -> None:
    saved = await ada.save(webhook=_settings(WebhookScheme.GITHUB))
    headers = _signed(WebhookScheme.GITHUB)
    other = b'{"id": "evt_2"}'

    async def status(id_: str | None, body: bytes = BODY) -> tuple[int, str | None]:
        signed = _signed(WebhookScheme.GITHUB, body=body)
        named = signed if id_ is None else signed | {"X-GitHub-Delivery": id_}
        answer = await _call(ada.http, saved, named, body)
        return answer.status_code, answer.json().get("code")

    assert headers == _signed(WebhookScheme.GITHUB)
    assert await status("a") == (202, None)
    assert await status("a") == (200, None)
    assert await status("b") == (409, "replayed")
    assert await status(None) == (409, "replayed")
    assert await status("a", other) == (409, "replayed")
    assert await status("b", other) == (202, None)
    assert len((await ada.get("/runs")).json()["items"]) == 2


async def test_a_sender_that_tries_again_later_gets_its_first_run(ada: Caller) -> None:
    standard = await ada.save(webhook=_settings(WebhookScheme.STANDARD))
    stripe = await ada.save(webhook=_settings(WebhookScheme.STRIPE), dedupe={"key": "input.id"})
    times = (_now() - 60, _now())

    answers = [
        await _call(ada.http, saved, _signed(scheme, time=time))
        for scheme, saved in (("standard", standard), ("stripe", stripe))
        for scheme in [WebhookScheme(scheme)]
        for time in times
    ]
    replayed = await _call(ada.http, stripe, _signed(WebhookScheme.STRIPE, time=times[1]))

    assert [answer.status_code for answer in answers] == [202, 200, 202, 200]
    assert replayed.json() == answers[3].json()
    assert len((await ada.get("/runs")).json()["items"]) == 2


async def test_one_message_id_with_two_bodies_is_refused(ada: Caller) -> None:
    saved = await ada.save(webhook=_settings(WebhookScheme.STANDARD))
    other = b'{"id": "evt_2"}'

    first = await _call(ada.http, saved, _signed(WebhookScheme.STANDARD))
    second = await _call(ada.http, saved, _signed(WebhookScheme.STANDARD, body=other), other)
    next_ = _signed(WebhookScheme.STANDARD, id_="msg_2")

    assert (first.status_code, second.status_code) == (202, 409)
    assert (await _call(ada.http, saved, next_)).status_code == 202


async def test_a_delivery_is_known_at_its_own_workflow_only_and_until_its_time_is_up(
    ada: Caller, container: Container
) -> None:
    one, other = [await ada.save(webhook=HMAC) for _ in range(2)]
    headers = _signed(WebhookScheme.HMAC)
    await _call(ada.http, one, headers)
    first = await _call(ada.http, other, headers)
    now = SystemClock().now()
    with container.engine.begin() as connection:
        connection.execute(
            update(WebhookDelivery)
            .where(col(WebhookDelivery.workflow_id) == other["id"])
            .values(expires_at=now - timedelta(seconds=1))
        )

    later = [await _call(ada.http, other, headers) for _ in range(2)]
    with container.engine.begin() as connection:
        gone = expire_deliveries(connection, now + timedelta(days=91), 100)

    assert first.status_code == 202
    assert [answer.status_code for answer in later] == [202, 200]
    assert gone == 2


@pytest.mark.parametrize(
    ("scheme", "dedupe", "days"),
    [
        (WebhookScheme.HMAC, {}, 90),
        (WebhookScheme.GITHUB, {}, 90),
        (WebhookScheme.HMAC, {"ttl_seconds": 100 * 86_400}, 100),
        (WebhookScheme.STANDARD, {}, 7),
        (WebhookScheme.STANDARD, {"ttl_seconds": 30 * 86_400}, 30),
        (WebhookScheme.STRIPE, {"ttl_seconds": 30 * 86_400}, 0),
        (WebhookScheme.SLACK, {}, 0),
    ],
)
async def test_what_tells_no_time_is_remembered_for_ninety_days_at_least(
    ada: Caller, container: Container, scheme: WebhookScheme, dedupe: Any, days: int
) -> None:
    saved = await ada.save(webhook=_settings(scheme), dedupe=dedupe or None)
    before = SystemClock().now()

    await _call(ada.http, saved, _signed(scheme))

    with container.engine.connect() as connection:
        expires = connection.execute(select(col(WebhookDelivery.expires_at))).scalars().one()
    assert (expires - before + timedelta(minutes=1)).days == days


async def test_a_secret_goes_in_and_does_not_come_out(ada: Caller, container: Container) -> None:
    given = await ada.save(webhook=HMAC)
    made = await ada.save(webhook={"auth": "signature"})
    path = f"/workflows/{made['id']}"

    read = [
        (await ada.get(path)).text,
        (await ada.get("/workflows")).text,
        (await ada.call("PATCH", path, json={"name": "x"})).text,
        (await ada.call("PATCH", path, json={"webhook": {"auth": "signature"}})).text,
        (await ada.get(f"/workflows/{given['id']}")).text,
    ]

    secret = made["webhook"]["secret"]
    assert made["webhook"] == {
        "auth": "signature",
        "scheme": "standard",
        "secret": secret,
        "secret_set": True,
    }
    assert given["webhook"] == {"auth": "signature", "scheme": "hmac", "secret_set": True}
    assert not any(secret in text or HMAC["secret"] in text for text in read)
    assert "token" not in made["webhook_url"]
    answer = await _call(ada.http, made, _signed(WebhookScheme.STANDARD, secret))
    assert answer.status_code == 202
    with container.engine.connect() as connection:
        stored = connection.execute(Workflow.__table__.select()).all()  # type: ignore[attr-defined]
    assert HMAC["secret"] not in str(stored)


async def test_what_was_read_can_be_sent_back_and_changes_nothing(ada: Caller) -> None:
    saved = await ada.save(
        webhook=HMAC | {"header": "X-Mine", "allowed_sources": ["127.0.0.1/32", "2001:db8::/32"]}
    )
    path = f"/workflows/{saved['id']}"

    again = await ada.call("PATCH", path, json={"webhook": saved["webhook"]})
    same = await ada.call("PATCH", path, json={"webhook": saved["webhook"] | HMAC})

    assert again.headers["etag"] == same.headers["etag"] == '"1"'
    assert again.json()["webhook"] == saved["webhook"]
    signed = {"X-Mine": _signed(WebhookScheme.HMAC)["x-signature"]}
    assert (await _call(ada.http, saved, signed)).status_code == 202


async def test_a_rotated_secret_holds_as_long_as_they_overlap(
    ada: Caller, container: Container
) -> None:
    saved = await ada.save(webhook=HMAC)
    path = f"/workflows/{saved['id']}/webhook/rotate"

    async def status(secret: str, body: bytes) -> int:
        signed = _signed(WebhookScheme.HMAC, secret, body=body)
        return (await _call(ada.http, saved, signed, body)).status_code

    new = (await ada.post(path)).json()["webhook"]["secret"]
    both = [await status(new, b"1"), await status(HMAC["secret"], b"2")]
    with container.engine.begin() as connection:
        now = SystemClock().now() - timedelta(seconds=1)
        connection.execute(update(Workflow).values(webhook_old_until=now))
    after = [await status(new, b"3"), await status(HMAC["secret"], b"4")]
    third = "a third secret that the sender dictates"
    dictated = await ada.post(path, {"secret": third, "overlap_seconds": 0})
    last = [await status(third, b"5"), await status(new, b"6")]

    assert (both, after, last) == ([202, 202], [202, 401], [202, 401])
    assert "secret" not in dictated.json()["webhook"]


async def test_a_changed_secret_replaces_the_one_before_at_once(ada: Caller) -> None:
    saved = await ada.save(webhook=HMAC)
    other = "another secret of some length"
    path = f"/workflows/{saved['id']}"

    await ada.call("PATCH", path, json={"webhook": HMAC | {"secret": other}})
    old = await _call(ada.http, saved, _signed(WebhookScheme.HMAC))
    new = await _call(ada.http, saved, _signed(WebhookScheme.HMAC, other))
    token = await ada.call("PATCH", path, json={"webhook": {"auth": "token"}})

    assert (old.status_code, new.status_code) == (401, 202)
    assert token.json()["webhook"] == {"auth": "token"}
    assert (await ada.http.post(token.json()["webhook_url"], json={})).status_code == 202


async def test_a_rotated_token_holds_as_long_as_it_is_to_overlap(ada: Caller) -> None:
    first = await ada.save()
    path = f"/workflows/{first['id']}/webhook/rotate"

    second = (await ada.post(path, {"overlap_seconds": 60})).json()
    overlapping = [await ada.http.post(one["webhook_url"], json={}) for one in (first, second)]
    third = (await ada.post(path)).json()
    after = [await ada.http.post(one["webhook_url"], json={}) for one in (first, second, third)]

    assert [answer.status_code for answer in overlapping] == [202, 202]
    assert [answer.status_code for answer in after] == [401, 401, 202]


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({"auth": "token", "secret": "a secret that is long enough"}, "/webhook/secret"),
        ({"auth": "open", "scheme": "github"}, "/webhook/scheme"),
        ({"auth": "api_key", "header": "X-Signature"}, "/webhook/header"),
        ({"auth": "signature", "scheme": "github", "header": "X-Mine"}, "/webhook/header"),
        (HMAC | {"header": "Authorization"}, "/webhook/header"),
        (HMAC | {"header": "no header"}, "/webhook/header"),
        ({"auth": "signature", "scheme": "svix"}, "/webhook/scheme"),
        ({"auth": "signature", "scheme": "hmac", "secret": "short"}, "/webhook/secret"),
        ({"auth": "signature", "scheme": "hmac", "secret": ""}, "/webhook/secret"),
        ({"auth": "signature", "secret": "whsec_!"}, "/webhook/secret"),
        ({"allowed_sources": []}, "/webhook/allowed_sources"),
        ({"allowed_sources": ["10.0.0.1/8"]}, "/webhook/allowed_sources/0"),
        ({"allowed_sources": ["::1", "example.com"]}, "/webhook/allowed_sources/1"),
    ],
)
async def test_settings_that_do_not_go_together_are_refused(
    ada: Caller, webhook: dict[str, Any], pointer: str
) -> None:
    body = {"name": "x", "definition": DEFINITION, "webhook": webhook}

    answer = await ada.post("/workflows", body)

    assert answer.status_code == 422
    assert pointer in {problem["pointer"] for problem in answer.json()["errors"]}


async def test_a_rotation_that_cannot_be_is_refused(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    token, signed = await ada.save(), await ada.save(webhook=HMAC)

    def path(saved: dict[str, Any]) -> str:
        return f"/workflows/{saved['id']}/webhook/rotate"

    answers = [
        await ada.post(path(token), {"secret": "a secret that is long enough"}),
        await ada.post(path(signed), {"secret": "short"}),
        await ada.post(path(signed), {"overlap_seconds": -1}),
        await bob.post(path(signed)),
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 422, 404]
    assert [a.json()["errors"][0]["pointer"] for a in answers[:3]] == [
        "/secret",
        "/secret",
        "/overlap_seconds",
    ]


async def test_by_api_key_only_who_may_run_it_may_call(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    saved = await ada.save(webhook={"auth": "api_key"})

    answers = [
        await _call(ada.http, saved, {}),
        await _call(ada.http, saved, {"X-Webhook-Token": "x"}),
        await _call(ada.http, saved, bob.headers),
        await _call(ada.http, saved, ada.headers),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 404, 202]
    assert "X-API-Key" in answers[0].json()["detail"]


async def test_the_owner_may_call_whatever_the_webhook_asks_for(ada: Caller) -> None:
    webhooks = [HMAC, {"auth": "api_key"}, {"auth": "open", "allowed_sources": ["192.0.2.1"]}]

    answers = [
        await _call(ada.http, await ada.save(webhook=webhook), ada.headers) for webhook in webhooks
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 202]


def _from(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("198.51.100.4", True),
        ("192.0.3.1", False),
        ("2001:db9::1", False),
        ("::ffff:192.0.3.1", False),
        ("", False),
        ("unix socket", False),
    ],
)
async def test_calls_from_elsewhere_look_as_if_what_they_have_were_wrong(
    app: FastAPI, ada: Caller, address: str, allowed: bool
) -> None:
    sources = {"allowed_sources": ["192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120"]}
    token = await ada.save(webhook=sources)
    signed = await ada.save(webhook=HMAC | sources)
    open_ = await ada.save(webhook={"auth": "open"} | sources)
    elsewhere = "192.0.3.9"

    async with _from(app, address) as here, _from(app, elsewhere) as there:
        answers = [
            await _call(here, token, {}),
            await _call(here, signed, _signed(WebhookScheme.HMAC)),
            await _call(here, open_, {}),
        ]
        wrong = [
            await _call(there, token | {"webhook_url": f"{token['webhook_url']}x"}, {}),
            await _call(there, signed, {}),
            await _call(there, open_, {}),
        ]

    if allowed:
        assert [answer.status_code for answer in answers] == [202] * 3
    else:
        assert [answer.json() for answer in answers] == [answer.json() for answer in wrong]
        assert {answer.status_code for answer in answers} == {401}


async def test_behind_a_trusted_proxy_the_caller_is_who_it_says(settings: Settings) -> None:
    trusting = settings.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    async with running(trusting) as app, _from(app, "127.0.0.1") as http:
        account = {"email": "ada@example.com", "password": "correct horse battery"}
        await http.post("/api/v1/register", json=account)
        form = {"username": account["email"], "password": account["password"]}
        token = (await http.post("/api/v1/login", data=form)).json()["access_token"]
        ada = Caller(http, account["email"], {"Authorization": f"Bearer {token}"})
        saved = await ada.save(webhook={"auth": "open", "allowed_sources": ["192.0.2.0/24"]})

        async with _from(app, "192.0.3.1") as stranger:
            answers = [
                await _call(http, saved, {"X-Forwarded-For": "192.0.2.1"}),
                await _call(http, saved, {"X-Forwarded-For": "192.0.2.1, 192.0.3.1"}),
                await _call(stranger, saved, {"X-Forwarded-For": "192.0.2.1"}),
            ]

    assert [answer.status_code for answer in answers] == [202, 401, 401]


async def test_signatures_are_no_part_of_a_dedupe_key(ada: Caller) -> None:
    key = "[headers?.['x-mine'], headers?.['x-signature'], headers?.['x-api-key'], input]"
    saved = await ada.save(webhook=HMAC | {"header": "X-Mine"}, dedupe={"key": key})
    signed = {"X-Mine": _signed(WebhookScheme.HMAC)["x-signature"], "X-API-Key": "k"}

    first = await _call(ada.http, saved, signed)
    by_owner = await _call(ada.http, saved, ada.headers)

    assert first.status_code == 202, first.text
    assert by_owner.json()["run_id"] == first.json()["run_id"]


async def test_secrets_are_encrypted_anew_and_still_hold(ada: Caller, container: Container) -> None:
    saved = [await ada.save(webhook=HMAC) for _ in range(3)]
    await ada.post(f"/workflows/{saved[0]['id']}/webhook/rotate", {"secret": "second " * 4})
    newer = KeyRing({"k2": bytes(32), **container.keys._keys})

    with container.engine.begin() as connection:
        rounds = [reencrypt(connection, newer, 2) for _ in range(3)]
    container.triggers._secrets = WebhookSecrets(newer)

    assert rounds == [2, 1, 0]
    answers = [await _call(ada.http, one, _signed(WebhookScheme.HMAC)) for one in saved]
    assert [answer.status_code for answer in answers] == [202] * 3


async def test_a_secret_that_cannot_be_read_is_the_operators_fault(
    ada: Caller, container: Container
) -> None:
    saved = await ada.save(webhook=HMAC)
    container.triggers._secrets = WebhookSecrets(KeyRing({"k2": bytes(32)}))

    answer = await _call(ada.http, saved, _signed(WebhookScheme.HMAC))

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
