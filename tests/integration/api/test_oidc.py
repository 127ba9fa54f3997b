"""Sign-in by OpenID Connect, at a provider that this test starts, and that lies."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr
from sqlmodel import Session, select

from app.api.container import Container
from app.core.config import Settings
from app.models import ApiKey, UserIdentity
from app.services.throttle import SIGN_INS
from tests.integration.api.conftest import PASSWORD, Caller, client_of, log_in, running
from tests.integration.api.oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Lies,
    Provider,
    rsa_key,
    signed_with_the_public_key,
    unsigned,
)

LOGIN, CALLBACK = "/api/v1/oidc/login", "/api/v1/oidc/callback"


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def settings(settings: Settings, provider: Provider) -> Settings:
    return settings.model_copy(
        update={
            "oidc_issuer": provider.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": SecretStr(CLIENT_SECRET),
            "oidc_allow_registration": True,
        }
    )


async def _begin(http: httpx.AsyncClient) -> str:
    answer = await http.get(LOGIN)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def _sign_in(http: httpx.AsyncClient, provider: Provider) -> httpx.Response:
    return await http.get(CALLBACK, params=provider.sign_in(await _begin(http)))


async def _me(http: httpx.AsyncClient, signed_in: httpx.Response) -> dict[str, Any]:
    assert signed_in.status_code == 200, signed_in.text
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    answer = await http.get("/api/v1/me", headers=headers)
    assert answer.status_code == 200, answer.text
    me: dict[str, Any] = answer.json()
    return me


async def test_signing_in_answers_the_tokens_of_a_login(
    http: httpx.AsyncClient, provider: Provider
) -> None:
    signed_in = await _sign_in(http, provider)

    assert (await _me(http, signed_in))["email"] == "ada@example.com"
    token = {"refresh_token": signed_in.json()["refresh_token"]}
    assert (await http.post("/api/v1/token/refresh", json=token)).status_code == 200
    assert provider.asked == [
        "/realm/.well-known/openid-configuration",
        "/realm/jwks",
        "/realm/token",
    ]


async def test_the_browser_is_sent_with_pkce_state_and_nonce_and_keeps_them_to_itself(
    http: httpx.AsyncClient, provider: Provider
) -> None:
    answer = await http.get(LOGIN)

    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert answer.headers["location"].startswith(f"{provider.issuer}/authorize?")
    assert asked["redirect_uri"] == [f"http://test{CALLBACK}"]
    assert {len(asked[name][0]) for name in ("state", "nonce", "code_challenge")} == {43}
    cookie = answer.headers["set-cookie"]
    assert all(
        part in cookie for part in ("HttpOnly", "SameSite=lax", "Max-Age=600", "Path=/api/v1/oidc")
    )
    assert not any(asked[name][0] in cookie for name in ("state", "nonce"))


async def test_behind_https_the_cookie_is_for_https_alone(settings: Settings) -> None:
    public = settings.model_copy(update={"public_url": "https://flows.example.com"})
    async with running(public) as app, client_of(app) as http:
        answer = await http.get(LOGIN)

    assert "Secure" in answer.headers["set-cookie"]
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["redirect_uri"] == [f"https://flows.example.com{CALLBACK}"]


async def test_somebody_is_known_again_by_issuer_and_subject_alone(
    http: httpx.AsyncClient, provider: Provider, container: Container
) -> None:
    first = await _me(http, await _sign_in(http, provider))
    provider.person = {"sub": "subject-1", "email": "new@example.com", "email_verified": False}

    second = await _me(http, await _sign_in(http, provider))

    assert second["id"] == first["id"]
    with Session(container.engine) as session:
        (link,) = session.exec(select(UserIdentity)).all()
    assert (link.issuer, link.subject) == (provider.issuer, "subject-1")


async def test_an_account_with_the_same_verified_address_becomes_theirs(
    ada: Caller, provider: Provider, container: Container
) -> None:
    before = (await ada.get("/me")).json()
    await ada.post("/api-keys", {"name": "x", "scopes": ["runs:read"]})

    me = await _me(ada.http, await _sign_in(ada.http, provider))

    assert me["id"] == before["id"]
    # Registration is open: whoever made the account has not shown that the address is theirs.
    assert (await ada.get("/me")).status_code == 401
    with Session(container.engine) as session:
        assert session.exec(select(ApiKey)).all() == []
    password = {"username": ada.email, "password": PASSWORD}
    assert (await ada.http.post("/api/v1/login", data=password)).status_code == 401


async def test_a_member_whose_address_nobody_has_proved_loses_the_password_while_registration_is_closed(
    settings: Settings, provider: Provider
) -> None:
    async with running(settings) as app, client_of(app) as http:
        for email in ("first@example.com", "ada@example.com"):
            await http.post("/api/v1/register", json={"email": email, "password": PASSWORD})
    closed = settings.model_copy(update={"registration": "closed"})
    async with running(closed) as app, client_of(app) as http:
        assert (await _me(http, await _sign_in(http, provider)))["email"] == "ada@example.com"
        password = {"username": "ada@example.com", "password": PASSWORD}
        assert (await http.post("/api/v1/login", data=password)).status_code == 401


async def test_an_administrator_keeps_the_password_while_registration_is_closed(
    settings: Settings, provider: Provider
) -> None:
    async with running(settings) as app, client_of(app) as http:
        account = {"email": "ada@example.com", "password": PASSWORD}
        await http.post("/api/v1/register", json=account)
    closed = settings.model_copy(
        update={"registration": "closed", "oidc_allow_registration": False}
    )
    async with running(closed) as app, client_of(app) as http:
        assert (await _me(http, await _sign_in(http, provider)))["email"] == "ada@example.com"
        await log_in(http, "ada@example.com")


@pytest.mark.parametrize("verified", [False, "true", 1, None])
async def test_an_address_that_is_not_verified_links_and_makes_nothing(
    ada: Caller, provider: Provider, verified: Any
) -> None:
    provider.person["email_verified"] = verified

    known = await _sign_in(ada.http, provider)
    provider.person["email"] = "new@example.com"
    unknown = await _sign_in(ada.http, provider)

    assert [known.status_code, unknown.status_code] == [403, 403]
    assert "verified" in known.json()["detail"]
    assert (await ada.get("/me")).status_code == 200


async def test_without_registration_only_accounts_that_are_there_sign_in(
    settings: Settings, provider: Provider
) -> None:
    existing = settings.model_copy(update={"oidc_allow_registration": False})
    async with running(existing) as app, client_of(app) as http:
        refused = await _sign_in(http, provider)
        await http.post("/api/v1/register", json={"email": "ada@example.com", "password": PASSWORD})
        accepted = await _sign_in(http, provider)

    assert [refused.status_code, accepted.status_code] == [403, 200]


async def test_a_closed_account_cannot_sign_in(ada: Caller, provider: Provider) -> None:
    provider.person["email"] = "bob@example.com"
    bob = await _me(ada.http, await _sign_in(ada.http, provider))
    await ada.call("PATCH", f"/admin/users/{bob['id']}", json={"active": False})

    answer = await _sign_in(ada.http, provider)

    assert (answer.status_code, "closed" in answer.json()["detail"]) == (401, True)


async def test_groups_give_roles_at_each_sign_in(settings: Settings, provider: Provider) -> None:
    mapped = settings.model_copy(
        update={"oidc_role_claim": "groups", "oidc_role_map": ("staff=operator", "boss=admin")}
    )
    roles = []
    async with running(mapped) as app, client_of(app) as http:
        await http.post(
            "/api/v1/register", json={"email": "root@example.com", "password": PASSWORD}
        )
        for groups in (
            ["staff", "x"],
            ["staff", "boss"],
            "staff",
            [],
            None,
            {"staff": 1},
            ["boss"],
        ):
            provider.person["groups"] = groups
            roles.append((await _me(http, await _sign_in(http, provider)))["role"])

    assert roles == ["operator", "admin", "operator", "member", "member", "member", "admin"]


async def test_the_last_administrator_is_not_demoted_by_the_provider(
    settings: Settings, provider: Provider
) -> None:
    mapped = settings.model_copy(
        update={"oidc_role_claim": "groups", "oidc_role_map": ("boss=admin",)}
    )
    async with running(mapped) as app, client_of(app) as http:
        provider.person["groups"] = "boss"
        await _sign_in(http, provider)
        provider.person["groups"] = []
        me = await _me(http, await _sign_in(http, provider))

    assert me["role"] == "admin"


def _rsa(provider: Provider) -> RSAKey:
    key = provider.keys[0]
    assert isinstance(key, RSAKey)
    return key


def _with_header(token: str, name: str) -> str:
    header = {"alg": "RS256", "kid": "rsa-1", name: ["x"]}
    return f"{_encode(header)}.{token.partition('.')[2]}"


def _with_other_claims(token: str) -> str:
    head, _, rest = token.partition(".")
    return f"{head}.{_encode({'sub': 'admin'})}.{rest.partition('.')[2]}"


def _nested() -> str:
    text = b'{"alg":"RS256","x":' + b"[" * 1300 + b"]" * 1300 + b"}"
    return f"{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}.e30.AA"


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


HOSTILE: dict[str, Callable[[Provider], Lies]] = {
    "wrong nonce": lambda _: Lies({"nonce": "another"}),
    "no nonce": lambda _: Lies(without=("nonce",)),
    "nonce in a list": lambda _: Lies({"nonce": ["another"]}),
    "for somebody else": lambda _: Lies({"aud": "another client"}),
    "for nobody": lambda _: Lies(without=("aud",)),
    "for others too, and made for them": lambda _: Lies({"aud": [CLIENT_ID, "x"], "azp": "x"}),
    "for others too": lambda _: Lies({"aud": [CLIENT_ID, "x"]}),
    "another issuer": lambda _: Lies({"iss": "https://evil.example.com"}),
    "no issuer": lambda _: Lies(without=("iss",)),
    "expired": lambda _: Lies({"exp": 1_000_000_000}),
    "without end": lambda _: Lies(without=("exp",)),
    "an end that is text": lambda _: Lies({"exp": "9999999999"}),
    "an end that is true": lambda _: Lies({"exp": True}),
    "from the future": lambda _: Lies({"iat": 9_999_999_999}),
    "not yet": lambda _: Lies({"nbf": 9_999_999_999}),
    "no subject": lambda _: Lies(without=("sub",)),
    "a subject that is a number": lambda _: Lies({"sub": 7}),
    "an empty subject": lambda _: Lies({"sub": ""}),
    "a long subject": lambda _: Lies({"sub": "x" * 256}),
    "alg none": lambda _: Lies(token=unsigned),
    "HS256 with the public key": lambda provider: Lies(
        token=lambda token: signed_with_the_public_key(token, _rsa(provider))
    ),
    "another key of the same name": lambda _: Lies(key=rsa_key(serial=2)),
    "an unknown key": lambda _: Lies(key=rsa_key("rsa-2")),
    "unknown crit": lambda _: Lies(token=lambda token: _with_header(token, "crit")),
    "changed claims": lambda _: Lies(token=_with_other_claims),
    "no signature": lambda _: Lies(token=lambda token: token.rpartition(".")[0] + "."),
    "two parts": lambda _: Lies(token=lambda token: token.rpartition(".")[0]),
    "empty": lambda _: Lies(token=lambda _: ""),
    "long": lambda _: Lies(token=lambda token: token + "A" * 40_000),
    "not ASCII": lambda _: Lies(token=lambda token: token + "\xe9"),
    "nested": lambda _: Lies(token=lambda _: _nested()),
}


async def test_an_id_token_that_does_not_hold_signs_nobody_in(
    http: httpx.AsyncClient, provider: Provider, container: Container
) -> None:
    answers = {}
    for name, lies_of in HOSTILE.items():
        provider.lies = lies_of(provider)
        answer = await _sign_in(http, provider)
        answers[name] = answer.status_code, answer.json().get("code")
        container.throttle.forget(SIGN_INS, "127.0.0.1")

    assert answers == dict.fromkeys(HOSTILE, (401, "not_authenticated"))
    provider.lies = Lies()
    assert (await _sign_in(http, provider)).status_code == 200


async def test_a_code_counts_once(http: httpx.AsyncClient, provider: Provider) -> None:
    came_back = provider.sign_in(await _begin(http))
    cookies = dict(http.cookies)

    first = await http.get(CALLBACK, params=came_back)
    without_cookie = await http.get(CALLBACK, params=came_back)
    http.cookies.update(cookies)
    with_cookie = await http.get(CALLBACK, params=came_back)

    statuses = [answer.status_code for answer in (first, without_cookie, with_cookie)]
    assert statuses == [200, 401, 401]


async def test_only_the_browser_that_began_can_end_it(
    app: FastAPI, http: httpx.AsyncClient, provider: Provider
) -> None:
    came_back = provider.sign_in(await _begin(http))
    async with client_of(app) as other:
        await _begin(other)
        foreign = await other.get(CALLBACK, params=came_back)
        other.cookies.clear()
        bare = await other.get(CALLBACK, params=came_back)

    answers = [
        await http.get(CALLBACK, params={**came_back, "state": state})
        for state in ("", "x", came_back["state"][:-1], "\u00e9")
    ]

    assert [foreign.status_code, bare.status_code] == [401, 401]
    assert [answer.status_code for answer in answers] == [401] * 4


@pytest.mark.parametrize("params", [{}, {"error": "access_denied"}, {"code": ""}])
async def test_whoever_comes_back_without_a_code_is_not_signed_in(
    http: httpx.AsyncClient, params: dict[str, str]
) -> None:
    await _begin(http)

    assert (await http.get(CALLBACK, params=params)).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["x", "secret-key.", "secret-key.AAAA", "nokey.AAAA", "a" * 3000]
)
async def test_a_cookie_that_is_not_ours_counts_as_none(
    http: httpx.AsyncClient, cookie: str
) -> None:
    answer = await http.get(
        CALLBACK,
        params={"code": "x", "state": "x"},
        headers={"Cookie": f"automateos_sign_in={cookie}"},
    )

    assert answer.status_code == 401


async def test_an_attempt_that_took_too_long_is_over(
    http: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.v1.endpoints.oidc.COOKIE_LIFE", timedelta(seconds=-1))
    came_back = provider.sign_in((await http.get(LOGIN)).headers["location"])
    cookie = (await http.get(LOGIN)).headers["set-cookie"].partition(";")[0]

    answer = await http.get(CALLBACK, params=came_back, headers={"Cookie": cookie})

    assert answer.status_code == 401


async def test_a_new_signing_key_is_fetched(
    http: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _sign_in(http, provider)
    provider.keys = [ECKey.generate_key("P-256", {"kid": "ec-1"})]
    too_soon = await _sign_in(http, provider)
    monkeypatch.setattr("app.services.oidc.provider.KEYS_AGAIN_SECONDS", 0.0)

    answer = await _sign_in(http, provider)

    assert [too_soon.status_code, answer.status_code] == [401, 200]


async def test_weak_and_foreign_keys_of_the_provider_are_passed_over(
    http: httpx.AsyncClient, provider: Provider
) -> None:
    usable = _rsa(provider)
    weak = {**usable.as_dict(private=False), "kid": "weak", "n": "4QaB"}
    odd: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"},
        {"kty": "RSA", "kid": "broken"},
        {"kty": 7},
        "x",
        weak,
        {**usable.as_dict(private=False), "use": "enc"},
    ]
    keys = json.dumps({"keys": [*odd, usable.as_dict(private=False)]}).encode()
    provider.lies.answers["/realm/jwks"] = (200, keys)

    assert (await _sign_in(http, provider)).status_code == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/realm/.well-known/openid-configuration", (500, b"{}")),
        ("/realm/.well-known/openid-configuration", (302, b"")),
        ("/realm/.well-known/openid-configuration", (200, b"[]")),
        ("/realm/.well-known/openid-configuration", (200, b"{}")),
        ("/realm/.well-known/openid-configuration", (200, b"[" * 5000)),
        ("/realm/.well-known/openid-configuration", (200, b" " * 600_000)),
        ("/realm/jwks", (404, b"{}")),
    ],
)
async def test_a_provider_that_does_not_answer_as_it_should_is_unavailable(
    http: httpx.AsyncClient, provider: Provider, path: str, answer: tuple[int, bytes]
) -> None:
    provider.lies.answers[path] = answer

    refused = await http.get(LOGIN)

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"]


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example.com"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": None},
    ],
)
async def test_a_description_of_something_else_is_not_believed(
    http: httpx.AsyncClient, provider: Provider, discovery: dict[str, Any]
) -> None:
    provider.lies.discovery = discovery

    assert (await http.get(LOGIN)).status_code == 503


@pytest.mark.parametrize("answer", [(500, b"{}"), (200, b"{}"), (200, b'{"id_token": 7}')])
async def test_a_token_endpoint_that_gives_no_token_signs_nobody_in(
    http: httpx.AsyncClient, provider: Provider, answer: tuple[int, bytes]
) -> None:
    provider.lies.answers["/realm/token"] = answer

    assert (await _sign_in(http, provider)).status_code == 401


async def test_signing_in_again_and_again_is_braked(
    http: httpx.AsyncClient, container: Container
) -> None:
    for _ in range(SIGN_INS.amount):
        container.throttle.count(SIGN_INS, "127.0.0.1")

    answers = [await http.get(LOGIN), await http.get(CALLBACK)]

    assert [answer.status_code for answer in answers] == [429, 429]


@pytest.fixture
async def plain(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    without = settings.model_copy(update={"oidc_issuer": None})
    async with running(without) as app, client_of(app) as http:
        yield http


async def test_without_a_provider_there_is_nothing_to_sign_in_at(plain: httpx.AsyncClient) -> None:
    answers = [await plain.get(LOGIN), await plain.get(CALLBACK)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert "OIDC_ISSUER" in answers[0].json()["detail"]
