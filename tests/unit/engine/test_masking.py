"""What looks like a credential is not stored."""

from typing import Any

import orjson
import pytest

from app.engine.attempt.context import kept_input
from app.engine.attempt.masking import MASK, mask_text, masked


def _masked(value: Any) -> Any:
    return masked(orjson.dumps(value))


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "token", "access_token", "refreshToken",
        "X-Auth-Token", "secret", "client_secret", "password", "Passwd", "api_key", "apiKey", "x-api-key", "X-API-KEY",
        "private_key", "X-Hub-Signature-256", "auth", "pwd",
    ],
)  # fmt: skip
def test_a_value_whose_name_looks_like_a_credential_is_masked(name: str) -> None:
    assert _masked({"headers": {name: "canary"}}) == {"headers": {name: MASK}}
    assert _masked([{"a": {name: {"inner": ["canary"]}}}]) == [{"a": {name: MASK}}]
    assert _masked({"headers": [{"name": name, "value": "canary"}]}) == {
        "headers": [{"name": name, "value": MASK}]
    }


def test_what_only_sounds_like_one_stays() -> None:
    value = {
        "max_tokens": 500,
        "authority": "Art. 6",
        "author": "Ada",
        "key": "order-1",
        "password": None,
        "secret": False,
        "credential": "github",
        "keys": ["a"],
    }

    assert _masked(value) == value


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://ada:canary@example.com/a", "https://***@example.com/a"),
        ("https://ada:c@nary@example.com/a@b", "https://***@example.com/a@b"),
        ("https://example.com/?page=2&token=canary#x", "https://example.com/?page=2&token=***#x"),
        ("https://example.com/?key=canary", "https://example.com/?key=***"),
        (
            "https://x.example/?X-Amz-Signature=canary&b=1",
            "https://x.example/?X-Amz-Signature=***&b=1",
        ),
        ("grant_type=password&client_secret=canary", "grant_type=password&client_secret=***"),
        ("user[password]=canary", "user[password]=***"),
        ("https://example.com/?q=a@b.example&page=token", "https://example.com/?q=a@b.example&page=token"),
        ("a == b", "a == b"),
    ],
)  # fmt: skip
def test_credentials_in_addresses_and_forms_are_masked(text: str, kept: str) -> None:
    assert mask_text(text) == kept
    assert _masked({"url": text}) == {"url": kept}


def test_the_config_itself_is_not_changed() -> None:
    config = {"url": "https://example.com", "headers": {"Authorization": "Bearer canary"}}

    kept = kept_input(config)

    assert kept == {"url": "https://example.com", "headers": {"Authorization": MASK}}
    assert config["headers"] == {"Authorization": "Bearer canary"}


def test_a_config_that_is_too_large_is_not_kept_at_all() -> None:
    assert "16 KiB" in kept_input({"password": "x" * 20_000})
