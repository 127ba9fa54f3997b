from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes.respond import Config, Respond
from tests.nodes.fakes import FakeContext


async def test_it_hands_the_answer_to_the_engine_and_to_later_steps() -> None:
    context = FakeContext()
    config = Config(status=201, headers={"X-Order": 7}, body={"ok": True})

    output = await Respond().run(config, context)

    assert context.responses == [(201, {"X-Order": "7"}, {"ok": True})]
    assert output.model_dump() == {"status": 201, "headers": {"X-Order": "7"}, "body": {"ok": True}}


def test_by_default_it_is_an_empty_200() -> None:
    config = Config.model_validate({})

    assert (config.status, config.headers, config.body) == (200, {}, None)


@pytest.mark.parametrize("name", [
    "Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "Set-Cookie", "Access-Control-Allow-Origin",
    "X-Accel-Redirect", "X-Sendfile", "Content-Security-Policy", "X-Content-Type-Options", "X-Run-Id", "bad name", "",
])  # fmt: skip
def test_headers_that_break_the_answer_or_the_platform_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="headers"):
        Config.model_validate({"headers": {name: "x"}})


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a\nb", "\x00", "\u20ac"])
def test_values_that_are_no_header_are_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="headers"):
        Config.model_validate({"headers": {"X-Name": value}})


@pytest.mark.parametrize("config", [
    {"status": 199}, {"status": 600}, {"status": 101}, {"status": 204, "body": {}}, {"status": 304, "body": "x"},
    {"headers": {"Content-Type": "text/html"}}, {"headers": {"content-type": "image/svg+xml"}, "body": "<svg/>"},
    {"headers": {"Content-Type": "application/xhtml+xml"}}, {"headers": {"Content-Type": "text/plain, text/html"}},
])  # fmt: skip
def test_what_is_no_answer_of_json_or_text_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(config)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Text/Plain; charset=utf-8", "application/problem+json", "text/csv"],
)
def test_json_and_text_may_be_named_more_exactly(kind: str) -> None:
    assert Config(headers={"Content-Type": kind}).headers == {"Content-Type": kind}
