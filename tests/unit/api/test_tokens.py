"""Access tokens: ours are read, everything else is refused in one way."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from app.core.errors import NotAuthenticated
from app.core.security.tokens import TokenClaims, issue_token, read_token
from app.core.security.webhook_tokens import webhook_token

KEY = "0123456789abcdef0123456789abcdef"
USER = "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS = {"sub": USER, "ver": 3, "iat": SECONDS, "exp": SECONDS + 60}


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _forge(header: Any, claims: Any, key: str = KEY) -> str:
    """Return a token with a right signature, whatever it says."""
    parts = [part if isinstance(part, bytes) else orjson.dumps(part) for part in (header, claims)]
    text = ".".join(_encode(part) for part in parts)
    return f"{text}.{_encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())}"


def test_a_token_says_who_it_stands_for() -> None:
    token = issue_token(KEY, USER, 3, NOW, 1)

    assert read_token(KEY, token, NOW) == TokenClaims(USER, 3, SECONDS, SECONDS + 60)
    assert read_token(KEY, _forge(HEADER | {"kid": "1"}, CLAIMS), NOW).user_id == USER


def test_a_token_may_belong_to_a_session() -> None:
    token = issue_token(KEY, USER, 3, NOW, 1, USER)

    assert read_token(KEY, token, NOW).session_id == USER


def test_there_are_hostile_tokens_enough() -> None:
    assert len(HOSTILE) >= 29


def test_a_token_ends_at_its_time_also_when_it_was_read_before() -> None:
    token = issue_token(KEY, USER, 3, NOW, 1)
    read_token(KEY, token, NOW + timedelta(seconds=59))

    with pytest.raises(NotAuthenticated, match="expired"):
        read_token(KEY, token, NOW + timedelta(seconds=60))


def test_a_token_from_the_future_is_refused() -> None:
    token = issue_token(KEY, USER, 3, NOW, 60)

    read_token(KEY, token, NOW - timedelta(seconds=60))
    with pytest.raises(NotAuthenticated, match="future"):
        read_token(KEY, token, NOW - timedelta(seconds=61))


NESTED = b'{"alg":"HS256","x":' + b"[" * 1300 + b"]" * 1300 + b"}"
HOSTILE = {
    "other algorithm": _forge({"alg": "HS512"}, CLAIMS),
    "no algorithm": _forge({"typ": "JWT"}, CLAIMS),
    "none": _forge({"alg": "none"}, CLAIMS)[:40] + "..",
    "crit": _forge(HEADER | {"crit": ["x"]}, CLAIMS),
    "own key": _forge(HEADER | {"jwk": {}}, CLAIMS),
    "odd typ": _forge(HEADER | {"typ": 7}, CLAIMS),
    "odd kid": _forge(HEADER | {"kid": ["a"]}, CLAIMS),
    "header is a list": _forge([1], CLAIMS),
    "nested header": _forge(NESTED, CLAIMS),
    "nested claims": _forge(HEADER, b"[" * 1300),
    "claims are a list": _forge(HEADER, [1]),
    "claims are no JSON": _forge(HEADER, b"\xff"),
    "other key": _forge(HEADER, CLAIMS, "another key, just as long as the first"),
    "too long": _forge(HEADER, CLAIMS | {"x": "y" * 4096}),
    "empty": "",
    "two parts": "a.b",
    "no base64": "!.!.!",
    "not ASCII": "\xe9.\xe9.\xe9",
    **{
        f"{name} is {value!r}": _forge(HEADER, CLAIMS | {name: value})
        for name, values in {
            "sub": (None, 7, "admin", USER.upper()),
            "ver": (None, "3", 3.0, True),
            "iat": (None, str(SECONDS), float(SECONDS)),
            "exp": (None, str(SECONDS + 60), SECONDS + 60.0, [1]),
            "sid": (None, 7, "", USER.upper(), [USER]),
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_token_is_refused_and_never_a_crash(token: str) -> None:
    with pytest.raises(NotAuthenticated, match="not valid"):
        read_token(KEY, token, NOW)


def test_webhook_tokens_differ_by_key_workflow_and_serial() -> None:
    tokens = {
        webhook_token(key, workflow, serial)
        for key in (KEY, KEY + "x")
        for workflow in ("a", "b")
        for serial in (1, 2)
    }

    assert len(tokens) == 8
    assert all(len(token) == 43 for token in tokens)
