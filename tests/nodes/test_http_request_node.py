import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.nodes.http_request_node import Config, HttpRequest, Output
from app.engine.sdk import Fail, Retry
from tests.nodes.fakes import FakeContext
from tests.unit.egress.loopback import Names, reply, serve

JSON = "Content-Type: application/json\r\n"


@pytest.fixture
async def context() -> AsyncIterator[FakeContext]:
    names = Names({"a.test": ["127.0.0.1"]})
    async with build_client(build_policy(["127.0.0.0/8"]), resolve=names) as client:
        yield FakeContext(http=client)


async def call(context: FakeContext, url: str, **config: Any) -> Output:
    return await HttpRequest().run(Config.model_validate({"url": url, **config}), context)


async def call_server(context: FakeContext, answer: bytes, **config: Any) -> Output:
    async with serve(answer) as server:
        return await call(context, server.url(), **config)


async def test_a_json_response_is_parsed(context: FakeContext) -> None:
    output = await call_server(context, reply(201, b'{"id": 7}', JSON + "X-Request-ID: a\r\n"))

    assert (output.status, output.body) == (201, {"id": 7})
    assert output.headers == {
        "content-type": "application/json",
        "x-request-id": "a",
        "content-length": "9",
    }
    assert 0 < output.elapsed_seconds < 5


@pytest.mark.parametrize(
    ("content_type", "body", "form", "expected"),
    [
        ("application/problem+json; charset=utf-8", b'{"a": 1}', "auto", {"a": 1}),
        ("application/json", b"\xef\xbb\xbf[1]", "auto", [1]),
        ("application/json", b"", "auto", None),
        ("text/plain", b'{"a": 1}', "auto", '{"a": 1}'),
        ("text/plain", b'{"a": 1}', "json", {"a": 1}),
        ("application/json", b'{"a": 1}', "text", '{"a": 1}'),
        ("text/plain; charset=iso-8859-1", b"caf\xe9", "auto", "café"),
        ("text/plain", b"caf\xe9", "auto", "caf\ufffd"),
        ("text/plain; charset=punycode", b"abc-", "auto", "abc-"),
        ("text/plain; charset=zlib", b"abc", "auto", "abc"),
        ("text/plain; charset=latin-nonsense", b"abc", "auto", "abc"),
        ("application/jsonlines", b"{}\n{}", "auto", "{}\n{}"),
    ],
)
async def test_the_body_is_read_as_its_type_or_the_config_says(
    context: FakeContext, content_type: str, body: bytes, form: str, expected: Any
) -> None:
    answer = reply(200, body, f"Content-Type: {content_type}\r\n")

    output = await call_server(context, answer, response=form)

    assert output.body == expected


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"a": Infinity}', b"<html>", b'"\xff"'])
async def test_broken_json_fails_and_says_how_to_read_it(context: FakeContext, body: bytes) -> None:
    with pytest.raises(Fail, match="set `response` to `text`") as caught:
        await call_server(context, reply(200, body, JSON))

    assert caught.value.code == "invalid_response"


async def test_the_request_carries_what_the_config_says(context: FakeContext) -> None:
    async with serve(reply()) as server:
        await call(
            context,
            f"{server.url()}path?signed=a%2Fb",
            method="PUT",
            query={"page": 2, "tag": ["x", "y z"], "all": True, "none": None},
            headers={"Accept": "text/csv", "X-Count": 7, "X-Name": "Zoë"},
            json_body={"a": [1, None, "ü"]},
        )

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /path?signed=a%2Fb&page=2&tag=x&tag=y+z&all=true HTTP/1.1\r\n")
    for line in ("Accept: text/csv", "X-Count: 7", "X-Name: Zoë", "Content-Type: application/json"):
        assert line.encode() in head.splitlines()
    assert body == '{"a":[1,null,"ü"]}'.encode()


async def test_a_url_without_query_parameters_to_add_is_sent_as_it_is(context: FakeContext) -> None:
    async with serve(reply()) as server:
        await call(context, f"{server.url()}?sig=a%20b+c&empty")

    assert server.requests[0].startswith(b"GET /?sig=a%20b+c&empty HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("config", "content_type", "body"),
    [
        ({"form": {"a": "1 2", "b": ["x", 3]}}, b"application/x-www-form-urlencoded", b"a=1+2&b=x&b=3"),
        ({"text": "hé"}, b"text/plain; charset=utf-8", "hé".encode()),
        ({"text": "<a/>", "headers": {"content-type": "text/xml"}}, b"text/xml", b"<a/>"),
        ({"json_body": None}, b"application/json", b"null"),
        ({"json_body": False, "text": None}, b"application/json", b"false"),
    ],
)  # fmt: skip
async def test_each_kind_of_body_is_sent_with_its_type(
    context: FakeContext, config: dict[str, Any], content_type: bytes, body: bytes
) -> None:
    async with serve(reply()) as server:
        await call(context, server.url(), method="POST", **config)

    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    types = [line for line in head.splitlines() if line.lower().startswith(b"content-type:")]
    assert [line.partition(b": ")[2] for line in types] == [content_type]
    assert sent == body


async def test_the_idempotency_key_and_our_name_are_sent(context: FakeContext) -> None:
    async with serve(reply()) as server:
        await call(context, server.url(), method="POST")

    lines = server.requests[0].splitlines()
    assert f"Idempotency-Key: {context.idempotency_key}".encode() in lines
    assert b"User-Agent: AutomateOS/0.1" in lines


async def test_the_user_s_own_idempotency_key_wins(context: FakeContext) -> None:
    async with serve(reply()) as server:
        await call(context, server.url(), headers={"idempotency-key": "mine"})

    sent = [line for line in server.requests[0].lower().splitlines() if b"idempotency" in line]
    assert sent == [b"idempotency-key: mine"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_status_that_may_pass_can_be_tried_again(context: FakeContext, status: int) -> None:
    with pytest.raises(Retry, match=f"answered {status}") as caught:
        await call_server(context, reply(status, b"busy"))

    assert caught.value.code == "unexpected_status"
    assert caught.value.data == {"status": status, "body": "busy"}
    assert caught.value.after_seconds is None


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 409, 422])
async def test_a_status_that_stays_fails(context: FakeContext, status: int) -> None:
    with pytest.raises(Fail, match=f"answered {status}") as caught:
        await call_server(context, reply(status, b"" if status == 304 else b"no"))

    assert caught.value.code == "unexpected_status"
    assert caught.value.data["status"] == status


async def test_a_failure_keeps_an_excerpt_of_the_body_only(context: FakeContext) -> None:
    with pytest.raises(Fail) as caught:
        await call_server(context, reply(404, b"x" * 100_000))

    assert len(caught.value.data["body"]) == 2_000


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Fri, 20 Nov 2026 12:01:30 GMT", 90.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Friday, 20-Nov-26 12:00:10 GMT", 10.0),
        ("9999999999", 86_400.0),
        ("9" * 5_000, None),
        ("-5", None),
        ("soon", None),
        ("Fri, 99 Nov 2026 12:01:30 GMT", None),
    ],
)
async def test_retry_after_is_honoured(
    context: FakeContext, status: int, value: str, seconds: float | None
) -> None:
    with pytest.raises(Retry) as caught:
        await call_server(context, reply(status, headers=f"Retry-After: {value}\r\n"))

    assert caught.value.after_seconds == seconds


@pytest.mark.parametrize(
    ("expected", "status"), [([404], 404), (["200-299", "500-599"], 503), (["404"], 404)]
)
async def test_an_expected_status_is_a_success(
    context: FakeContext, expected: list[Any], status: int
) -> None:
    output = await call_server(context, reply(status), expected_status=expected)

    assert output.status == status


async def test_success_can_be_unexpected(context: FakeContext) -> None:
    with pytest.raises(Fail, match="answered 200"):
        await call_server(context, reply(200), expected_status=[404])


async def test_a_get_follows_redirects(context: FakeContext) -> None:
    async with serve(reply(302, headers="Location: /next\r\n"), reply(body=b"there")) as server:
        output = await call(context, server.url())

    assert output.body == "there"


async def test_a_post_does_not_follow_redirects_unless_told(context: FakeContext) -> None:
    async with serve(reply(302, headers="Location: /next\r\n"), reply(body=b"there")) as server:
        with pytest.raises(Fail, match="set `follow_redirects`"):
            await call(context, server.url(), method="POST")
        output = await call(context, server.url(), method="POST", follow_redirects=True)

    assert output.body == "there"


async def test_redirects_in_circles_fail(context: FakeContext) -> None:
    with pytest.raises(Fail) as caught:
        await call_server(context, reply(302, headers="Location: /again\r\n"))

    assert caught.value.code == "too_many_redirects"


async def test_refused_and_blocked_give_the_same_error(context: FakeContext) -> None:
    async with serve(reply()) as server:
        port = server.port
    faults = set()
    for host in ("127.0.0.1", "10.0.0.1"):
        with pytest.raises(Retry) as caught:
            await call(context, f"http://{host}:{port}/")
        faults.add((caught.value.code, caught.value.message.replace(host, "HOST")))

    assert len(faults) == 1
    assert faults.pop()[0] == "connect_failed"


async def test_a_lost_connection_can_be_tried_again(context: FakeContext) -> None:
    for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"nonsense\r\n\r\n"):

        async def hang_up(writer: asyncio.StreamWriter, start: bytes = answer) -> None:
            writer.write(start)
            writer.close()

        async with serve(hang_up) as server:
            with pytest.raises(Retry) as caught:
                await call(context, server.url())

        assert caught.value.code == "connection_lost"


async def test_a_slow_body_ends_at_the_timeout(context: FakeContext) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serve(drip) as server:
        with pytest.raises(Retry, match=r"within 0\.15 seconds") as caught:
            await call(context, server.url(), timeout_seconds=0.15)

    assert caught.value.code == "timeout"


async def test_a_large_body_is_refused_by_its_decompressed_size(context: FakeContext) -> None:
    body = gzip.compress(bytes(2_000_000))
    answer = reply(200, body, "Content-Encoding: gzip\r\n")

    with pytest.raises(Fail, match="larger than 1048576 bytes") as caught:
        await call_server(context, answer)

    assert caught.value.code == "response_too_large"


async def test_a_damaged_body_fails(context: FakeContext) -> None:
    with pytest.raises(Fail) as caught:
        await call_server(context, reply(200, b"xx", "Content-Encoding: gzip\r\n"))

    assert caught.value.code == "invalid_response"


async def test_a_redirect_to_another_protocol_fails(context: FakeContext) -> None:
    with pytest.raises(Fail) as caught:
        await call_server(context, reply(302, headers="Location: file:///etc/passwd\r\n"))

    assert caught.value.code == "invalid_request"


async def test_cancelling_the_step_frees_the_connection(context: FakeContext) -> None:
    asked = asyncio.Event()

    async def stay_silent(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await writer.wait_closed()

    async with serve(stay_silent, reply(body=b"ok")) as server:
        calling = asyncio.create_task(call(context, server.url()))
        await asked.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        output = await call(context, server.url())

    assert output.body == "ok"


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"url": "ftp://a.test"}, ("url",)),
        ({"url": "a.test/path"}, ("url",)),
        ({"url": "http://"}, ("url",)),
        ({"url": "https://user:pass@a.test/"}, ("url",)),
        ({"url": "https://a.test/\r\nX: y"}, ("url",)),
        ({"method": "CONNECT"}, ("method",)),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, ("headers", "X-A")),
        ({"headers": {"X-A": "a\nb"}}, ("headers", "X-A")),
        ({"headers": {"X-A": "a\x00b"}}, ("headers", "X-A")),
        ({"headers": {"X-A\r\nX-B": "a"}}, ("headers", "X-A\r\nX-B", "[key]")),
        ({"headers": {"X A": "a"}}, ("headers", "X A", "[key]")),
        ({"headers": {"": "a"}}, ("headers", "", "[key]")),
        ({"headers": {"Host": "inner"}}, ("headers", "Host", "[key]")),
        ({"headers": {"content-length": "1"}}, ("headers", "content-length", "[key]")),
        ({"headers": {"Transfer-Encoding": "x"}}, ("headers", "Transfer-Encoding", "[key]")),
        ({"timeout_seconds": 301}, ("timeout_seconds",)),
        ({"timeout_seconds": 0}, ("timeout_seconds",)),
        ({"expected_status": []}, ("expected_status",)),
        ({"expected_status": [99]}, ("expected_status", 0, "constrained-int")),
        ({"max_response_bytes": 10_485_761}, ("max_response_bytes",)),
        ({"json_body": 1, "text": "a"}, ()),
        ({"form": {}, "text": "a"}, ()),
        ({"retries": 3}, ("retries",)),
    ],
)
def test_a_config_that_does_not_hold_is_refused_where_it_does_not(
    config: dict[str, Any], where: tuple[Any, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"url": "https://a.test", **config})

    assert where in [error["loc"] for error in caught.value.errors()]


@pytest.mark.parametrize("value", ["299-200", "2xx", "200-", "600-700"])
def test_a_status_range_must_be_one(value: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"url": "https://a.test", "expected_status": [value]})


def test_an_unset_url_is_the_only_thing_that_is_missing() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({})

    assert [error["loc"] for error in caught.value.errors()] == [("url",)]


def test_the_example_holds_and_every_field_is_described() -> None:
    Config.model_validate(HttpRequest.example)

    fields = Config.model_json_schema()["properties"].values()
    assert all(field["description"] for field in fields)


async def test_a_call_is_put_on_record_when_it_is_asked_for(context: FakeContext) -> None:
    await call_server(context, reply(200, b'{"id": 7}', JSON + "Set-Cookie: a=b\r\n"))
    async with serve(reply(409, b"no")) as server:
        url = f"{server.url()}a?b=1"
        with pytest.raises(Fail):
            await call(context, url, method="POST", text="hi", evidence=True)

    ((kind, content, title),) = context.evidence
    assert (kind, title) == ("http_call", "POST 127.0.0.1: 409")
    assert content["request"] == {
        "method": "POST",
        "url": url,
        "idempotency_key": context.idempotency_key,
        "body": {"bytes": 2, "sha256": hashlib.sha256(b"hi").hexdigest()},
        "sent_at": "2026-11-20T12:00:00+00:00",
    }
    assert content["response"] == {
        "status": 409,
        "url": url,
        "headers": {"content-length": "2"},
        "body": {"bytes": 2, "sha256": hashlib.sha256(b"no").hexdigest(), "content": "no"},
    }
    assert content["elapsed_seconds"] > 0


async def test_a_large_body_is_put_on_record_by_its_hash(context: FakeContext) -> None:
    body = b"x" * 20_000

    await call_server(context, reply(200, body), evidence=True)

    ((_, content, _),) = context.evidence
    assert content["response"]["body"] == {
        "bytes": 20_000,
        "sha256": hashlib.sha256(body).hexdigest(),
        "content": None,
    }
