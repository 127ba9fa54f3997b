"""Signatures as the senders' own documentation shows them, and everything that is none."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.security.webhook_signatures import (
    SignatureRefused,
    new_secret,
    signing_key,
    verify,
)
from app.core.statuses import WebhookScheme
from tests.unit.webhooks.signing import BODY, SECRETS, headers_of

STANDARD = {  # standardwebhooks.com, the test suite of its libraries
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "body": b'{"test": 2432232314}',
    "now": 1614265330,
    "headers": {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
}
GITHUB = {  # docs.github.com, "Validating webhook deliveries"
    "secret": "It's a Secret to Everybody",
    "body": b"Hello, World!",
    "now": 0,
    "headers": {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    },
}
SLACK = {  # docs.slack.dev, "Verifying requests from Slack"
    "secret": "8f742231b10e8888abcd99yyyzzz85a5",
    "body": b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10"
    b"d2c447fce8b6703c",
    "now": 1531420618,
    "headers": {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    },
}
STRIPE = {  # the test of Stripe's own .NET library: event_test_signature.json, EventUtilityTest.cs
    "secret": "webhook_secret",
    "body": b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
""",
    "now": 1533204620,
    "headers": {
        "stripe-signature": "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,"
        "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
    },
}
RFC_4231 = {  # test case 2
    "secret": "Jefe",
    "body": b"what do ya want for nothing?",
    "now": 0,
    "headers": {"x-signature": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
}
PUBLISHED = [
    (WebhookScheme.STANDARD, STANDARD),
    (WebhookScheme.GITHUB, GITHUB),
    (WebhookScheme.SLACK, SLACK),
    (WebhookScheme.STRIPE, STRIPE),
    (WebhookScheme.HMAC, RFC_4231),
]
NOW = 1_700_000_000
SCHEMES = [*WebhookScheme]
TIMED = [WebhookScheme.STANDARD, WebhookScheme.STRIPE, WebhookScheme.SLACK]


def _holds(scheme: WebhookScheme, headers: dict[str, str], body: bytes = BODY) -> bool:
    try:
        verify(scheme, [signing_key(scheme, SECRETS[scheme])], headers, body, NOW)
    except SignatureRefused:
        return False
    return True


@pytest.mark.parametrize(("scheme", "example"), PUBLISHED)
def test_the_published_example_of_each_scheme_holds(
    scheme: WebhookScheme, example: dict[str, Any]
) -> None:
    standard = scheme is WebhookScheme.STANDARD
    key = signing_key(scheme, example["secret"]) if standard else example["secret"].encode()

    delivery = verify(scheme, [key], example["headers"], example["body"], example["now"])

    assert len(delivery.key) == 64
    with pytest.raises(SignatureRefused):
        verify(scheme, [key], example["headers"], example["body"] + b" ", example["now"])
    with pytest.raises(SignatureRefused):
        verify(scheme, [key + b"x"], example["headers"], example["body"], example["now"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_secret_nothing_holds(scheme: WebhookScheme) -> None:
    with pytest.raises(SignatureRefused):
        verify(scheme, [], headers_of(scheme, BODY, NOW), BODY, NOW)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_of_two_secrets_holds_while_they_overlap(scheme: WebhookScheme) -> None:
    old, new = (signing_key(scheme, new_secret(scheme)) for _ in range(2))
    headers = headers_of(scheme, BODY, NOW, key=old)

    delivery = verify(scheme, [new, old], headers, BODY, NOW)

    with pytest.raises(SignatureRefused):
        verify(scheme, [new], headers, BODY, NOW)
    again = headers_of(scheme, BODY, NOW, key=new)
    assert verify(scheme, [new, old], again, BODY, NOW).key == delivery.key


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    ("seconds", "holds"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_a_signed_time_may_be_five_minutes_away(
    scheme: WebhookScheme, seconds: int, holds: bool
) -> None:
    assert _holds(scheme, headers_of(scheme, BODY, NOW + seconds)) is holds


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    "time",
    [
        "",
        "x",
        "-1700000000",
        "+1700000000",
        "1700000000.0",
        "\uff11\uff17" + "\uff10" * 8,
        "9" * 400,
        "1e9",
    ],
)
def test_a_time_that_is_none_is_refused(scheme: WebhookScheme, time: str) -> None:
    assert not _holds(scheme, headers_of(scheme, BODY, time))


def test_one_of_several_signatures_is_enough() -> None:
    standard = headers_of(WebhookScheme.STANDARD, BODY, NOW)
    standard["webhook-signature"] = (
        f"v1a,AAAA v1,{base64.b64encode(bytes(32)).decode()} {standard['webhook-signature']}"
    )
    stripe = headers_of(WebhookScheme.STRIPE, BODY, NOW)
    stripe["stripe-signature"] = stripe["stripe-signature"].replace("v1=", f"v1={'0' * 64},v1=")

    assert _holds(WebhookScheme.STANDARD, standard)
    assert _holds(WebhookScheme.STRIPE, stripe)


def test_a_plain_signature_is_hex_or_base64_with_a_prefix_or_none() -> None:
    digest = hmac.new(SECRETS[WebhookScheme.HMAC].encode(), BODY, hashlib.sha256).digest()
    forms = [digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()]

    for form in (*forms, *(f"sha256={form}" for form in forms)):
        assert _holds(WebhookScheme.HMAC, {"x-signature": form})
    for form in (digest.hex()[:-1], base64.b64encode(digest[:-1]).decode(), f"sha1={digest.hex()}"):
        assert not _holds(WebhookScheme.HMAC, {"x-signature": form})


def test_a_delivery_is_known_by_what_was_signed_alone() -> None:
    def delivery(scheme: WebhookScheme, time: int, **unsigned: str) -> tuple[str, str | None, bool]:
        headers = headers_of(scheme, BODY, time) | unsigned
        found = verify(scheme, [signing_key(scheme, SECRETS[scheme])], headers, BODY, NOW)
        return found.key, found.id, found.timed

    github = delivery(WebhookScheme.GITHUB, NOW, **{"x-github-delivery": "a"})
    changed = delivery(WebhookScheme.GITHUB, NOW, **{"x-github-delivery": "b"})
    retried = [delivery(WebhookScheme.STANDARD, NOW + seconds) for seconds in (0, 60)]
    stripe = [delivery(WebhookScheme.STRIPE, NOW + seconds) for seconds in (0, 60)]

    assert (github[0] == changed[0], github[1], changed[1], github[2]) == (True, "a", "b", False)
    assert retried[0] == retried[1]
    assert retried[0][1:] == ("msg_1", True)
    assert stripe[0][0] != stripe[1][0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_secrets_are_made_as_they_must_be(scheme: WebhookScheme) -> None:
    assert len(signing_key(scheme, new_secret(scheme))) >= 32
    assert new_secret(scheme) != new_secret(scheme)


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        (WebhookScheme.STANDARD, "whsec_short"),
        (WebhookScheme.STANDARD, "whsec_" + base64.b64encode(bytes(15)).decode()),
        (WebhookScheme.STANDARD, "not base64, but long enough: ü"),
        (WebhookScheme.HMAC, "fifteen bytes.."),
        (WebhookScheme.GITHUB, ""),
    ],
)
def test_a_weak_or_unreadable_secret_is_refused(scheme: WebhookScheme, secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        signing_key(scheme, secret)


NAMES = sorted({name for scheme in SCHEMES for name in headers_of(scheme, BODY, NOW)})
ANY = [chr(code) for code in range(256)]
"""What a server can make of the bytes of a header."""
GARBAGE = st.one_of(
    st.text(alphabet=ANY, max_size=80),
    st.text(alphabet="tv01=, .abcdef0123456789+/", max_size=200),
    st.sampled_from(["sha256=", "v1,", "v0=", "t=,v1=", "v1,====", "t=1,t=2,v1=aa", "x" * 32_000]),
)


@given(
    scheme=st.sampled_from(SCHEMES),
    headers=st.dictionaries(st.sampled_from([*NAMES, "x-github-delivery"]), GARBAGE),
    body=st.binary(max_size=100),
)
def test_whatever_is_in_the_headers_nothing_but_a_refusal_comes_of_it(
    scheme: WebhookScheme, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(SignatureRefused):
        verify(scheme, [bytes(32)], headers, body, NOW)


@given(
    scheme=st.sampled_from(SCHEMES),
    name=st.sampled_from(NAMES),
    place=st.integers(0, 400),
    text=st.text(alphabet=ANY, max_size=3),
)
def test_a_right_call_with_a_header_changed_anywhere_is_refused_or_the_same_call(
    scheme: WebhookScheme, name: str, place: int, text: str
) -> None:
    right = headers_of(scheme, BODY, NOW)
    key = signing_key(scheme, SECRETS[scheme])
    expected = verify(scheme, [key], right, BODY, NOW)
    changed = right[name][:place] + text + right[name][place + 1 :] if name in right else text

    try:
        found = verify(scheme, [key], right | {name: changed}, BODY, NOW)
    except SignatureRefused:
        return

    assert found.key == expected.key
