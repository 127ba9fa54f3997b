"""Access tokens of OAuth clients: fetched once, kept until shortly before their end, replaced when they are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from app.core.clock import SystemClock
from app.engine.credentials.credential import Credential
from app.engine.credentials.kinds import KINDS, CredentialData
from app.engine.credentials.oauth import Tokens
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.nodes.http_request_node import Config, HttpRequest, Output
from app.engine.sdk import Fail, Retry
from tests.nodes.fakes import FakeContext
from tests.unit.egress.loopback import Loopback, reply, serve

BASIC = b"Authorization: Basic YWRhOmNhbmFyeSBzZWNyZXQ="


class SetClock(SystemClock):
    """A clock whose seconds the test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(build_policy(["127.0.0.0/8"])) as http:
        yield http


def token(value: str, **fields: Any) -> bytes:
    return reply(200, orjson.dumps({"access_token": value, "token_type": "Bearer"} | fields))


def client(server: Loopback, **fields: Any) -> CredentialData:
    data = {"token_url": server.url(), "client_id": "ada", "client_secret": "canary secret"}
    return KINDS["oauth2_client_credentials"].model_validate(data | fields)


@asynccontextmanager
async def tokens_of(http: httpx.AsyncClient, clock: SetClock) -> AsyncIterator[Tokens]:
    tokens = Tokens(http, clock)
    yield tokens
    await tokens.close()


async def test_all_who_ask_at_once_share_one_call(http: httpx.AsyncClient, clock: SetClock) -> None:
    async with serve(token("first", expires_in=3600), token("second")) as server, tokens_of(http, clock) as tokens:  # fmt: skip
        asked = (tokens.get("id", 1, client(server, scope="a b"), None) for _ in range(20))
        given = await asyncio.gather(*asked)

    assert given == ["first"] * 20
    (request,) = server.requests
    assert BASIC in request
    assert request.endswith(b"grant_type=client_credentials&scope=a+b")


@pytest.mark.parametrize(("life", "until"), [({"expires_in": 3600}, 3540), ({"expires_in": "100"}, 80), ({}, 240)])  # fmt: skip
async def test_a_token_is_kept_until_shortly_before_its_end(
    http: httpx.AsyncClient, clock: SetClock, life: dict[str, Any], until: float
) -> None:
    given = []
    async with serve(token("first", **life), token("second")) as server, tokens_of(http, clock) as tokens:  # fmt: skip
        for seconds in (0, until - 1, until + 1):
            clock.seconds = seconds
            given.append(await tokens.get("id", 1, client(server), None))

    assert given == ["first", "first", "second"]


async def test_a_refused_token_is_replaced_once_for_all(
    http: httpx.AsyncClient, clock: SetClock
) -> None:
    async with serve(token("first"), token("second"), token("third")) as server, tokens_of(http, clock) as tokens:  # fmt: skip
        who = client(server)
        await tokens.get("id", 1, who, None)
        given = [await tokens.get("id", 1, who, "first") for _ in range(2)]
        changed = await tokens.get("id", 2, who, None)

    assert (given, changed) == (["second", "second"], "third")


async def test_a_server_that_wants_the_secret_in_the_body_gets_it_there(
    http: httpx.AsyncClient, clock: SetClock
) -> None:
    async with serve(reply(401), token("first")) as server, tokens_of(http, clock) as tokens:
        assert await tokens.get("id", 1, client(server), None) == "first"

    assert b"Authorization" not in server.requests[1]
    assert server.requests[1].endswith(b"client_id=ada&client_secret=canary+secret")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(401, b"canary secret"), Fail),
        (reply(302, headers="Location: http://127.0.0.1:1/\r\n"), Fail),
        (reply(200, b"no json"), Fail),
        (reply(200, b"[]"), Fail),
        (token(""), Fail),
        (token("a b"), Fail),
        (token("a\nb"), Fail),
        (reply(503), Retry),
        (reply(429), Retry),
    ],
)
async def test_a_server_that_gives_none_is_told_without_its_words(
    http: httpx.AsyncClient, clock: SetClock, answer: bytes, error: type[Exception]
) -> None:
    async with serve(answer) as server, tokens_of(http, clock) as tokens:
        with pytest.raises(error) as caught:
            await tokens.get("id", 1, client(server), None)

    assert "canary" not in str(caught.value)


async def test_a_server_that_is_not_there_may_come_back(
    http: httpx.AsyncClient, clock: SetClock
) -> None:
    async with serve(reply()) as server:
        pass
    async with tokens_of(http, clock) as tokens:
        with pytest.raises(Retry):
            await tokens.get("id", 1, client(server), None)


async def _send(
    http: httpx.AsyncClient, *answers: bytes
) -> tuple[Output | Exception, Loopback, FakeContext]:
    held = {"client_id": "ada", "access_token": "first"}
    crm = Credential("crm", "oauth2_client_credentials", held, ["127.0.0.1"])
    context = FakeContext(http, credentials={"crm": crm})
    async with serve(*answers) as server:
        config = Config.model_validate({"url": server.url(), "credential": "crm"})
        try:
            return await HttpRequest().run(config, context), server, context
        except Fail as error:
            return error, server, context


async def test_a_request_that_is_refused_is_sent_once_more_with_a_fresh_token(
    http: httpx.AsyncClient,
) -> None:
    output, server, context = await _send(http, reply(401), reply(200, b"ok"))

    assert isinstance(output, Output)
    assert b"Authorization: Bearer first" in server.requests[0]
    assert context.asked == [("crm", "127.0.0.1", False), ("crm", "127.0.0.1", True)]


async def test_and_not_a_third_time(http: httpx.AsyncClient) -> None:
    output, server, _ = await _send(http, reply(401))

    assert isinstance(output, Fail)
    assert len(server.requests) == 2
