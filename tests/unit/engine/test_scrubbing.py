"""Known secrets are taken out of what is stored, as they are and as they look when they are encoded."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import SystemClock
from app.core.statuses import WaitKind
from app.engine.attempt.answers import scrubbed
from app.engine.attempt.context import kept_input
from app.engine.attempt.scrubbing import NOTHING_TO_HIDE, Scrubber
from app.engine.attempt.secrets import AttemptSecrets, HostNotAllowed, derived
from app.engine.credentials.credential import Credential, permits
from app.engine.credentials.kinds import KINDS
from app.engine.language.expressions import compile_expression
from app.engine.planning.record import Waiting
from app.engine.planning.transitions import Failed, Outcome, Succeeded, Suspended
from app.engine.sdk import Fail

SECRET = 'canary "4c7a19" /+ü='


@pytest.fixture
def scrubber() -> Scrubber:
    scrubber = Scrubber()
    scrubber.add([SECRET])
    return scrubber


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"before {SECRET} after {SECRET}",
        json.dumps({"a": SECRET}),
        json.dumps({"a": SECRET}, ensure_ascii=False),
        json.dumps(json.dumps({"a": SECRET})),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        urlencode({"a": SECRET}),
        quote(SECRET).lower(),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"users:{SECRET}:and more".encode()).decode(),
        base64.urlsafe_b64encode(f"user1:{SECRET}".encode()).decode().rstrip("="),
        quote_plus(base64.b64encode(f"u:{SECRET}".encode())),
    ],
)
def test_a_secret_is_found_in_many_clothes(scrubber: Scrubber, said: str) -> None:
    hidden = scrubber.text(said)

    assert "***" in hidden
    assert "4c7a19" not in hidden
    middle = base64.b64encode(SECRET.encode()[3:-3]).decode().rstrip("=")[4:-4]
    assert middle not in hidden


@given(st.binary(max_size=7), st.binary(max_size=7), st.text(min_size=6, max_size=40))
def test_base64_of_any_surroundings_hides_the_secret(
    before: bytes, after: bytes, secret: str
) -> None:
    scrubber = Scrubber()
    scrubber.add([secret])
    encoded = base64.b64encode(before + secret.encode() + after).decode()

    hidden = scrubber.text(encoded)

    assert "***" in hidden
    assert len(hidden) <= len(encoded) - len(secret.encode()) + 9


def test_names_numbers_and_depths_are_looked_at(scrubber: Scrubber) -> None:
    scrubber.add(["12345678"])
    value = {"deep": [{SECRET: [SECRET, 12345678, None, True, 1.5]}], "other": "fine"}

    assert scrubber.json(value) == {"deep": [{"***": ["***", "***", None, True, 1.5]}], "other": "fine"}  # fmt: skip


def test_what_holds_no_secret_stays_the_same_object(scrubber: Scrubber) -> None:
    value = {"a": ["x" * 100]}

    assert scrubber.json(value) is value
    assert NOTHING_TO_HIDE.json(value) is value
    assert not NOTHING_TO_HIDE


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"begins {SECRET[:-1]}", "begins ***"),
        (f"begins {SECRET[:12]}… and goes on", "begins ***… and goes on"),
        (f"{SECRET[2:]} ends, {SECRET[-11:]}", "*** ends, ***"),
        (f"{SECRET[:14]}...{SECRET[-12:]}!", "***...***!"),
        (f"{SECRET[:10]}, {SECRET[:4]}", f"***, {SECRET[:4]}"),
        (f"too little: {SECRET[:9]} {SECRET[-9:]}", f"too little: {SECRET[:9]} {SECRET[-9:]}"),
    ],
)
def test_what_a_library_has_cut_is_found_from_half_a_secret_on(
    scrubber: Scrubber, said: str, told: str
) -> None:
    assert scrubber.text(said) == told
    assert scrubber.json([{said: said}, {"message": said}]) == [{told: told}, {"message": told}]


def test_a_long_number_that_python_does_not_read_gives_no_secret_away() -> None:
    secret = "sk-" + "4c7a19f2e8" * 30
    scrubber = Scrubber()
    scrubber.add([secret])

    with pytest.raises(ValueError, match="invalid literal") as caught:
        int(f"my key is {secret}")

    assert scrubber.text(str(caught.value)).endswith("'my key is ***")


def test_what_is_too_short_to_be_told_from_other_text_is_left() -> None:
    scrubber = Scrubber()
    scrubber.add(["short", ""])

    assert not scrubber
    assert scrubber.text("short") == "short"


def test_longer_secrets_go_before_their_parts() -> None:
    scrubber = Scrubber()
    scrubber.add(["secret", "secret-and-more"])

    assert scrubber.text("a secret-and-more, a secret") == "a ***, a ***"


def test_however_an_attempt_ends_it_ends_without_them(scrubber: Scrubber) -> None:
    wait = Waiting(WaitKind.TIMER, SystemClock().now(), {"note": SECRET})
    outcomes: list[Outcome] = [
        Succeeded({"a": SECRET}, "out", 40),
        Failed(SECRET, f"no {SECRET}", data={"a": SECRET}),
        Suspended(wait, {"error": {"message": SECRET}}, {"a": [SECRET]}),
    ]

    ended = [scrubbed(outcome, scrubber) for outcome in outcomes]

    assert "4c7a19" not in str(ended)
    assert ended[0] == Succeeded({"a": "***"}, "out", 11)
    assert scrubbed(outcomes[0], NOTHING_TO_HIDE) is outcomes[0]


def test_the_kept_config_masks_the_places_of_secrets_whole(scrubber: Scrubber) -> None:
    config = {"a": {"b": ["made of it", "x"]}, "c": SECRET, "d": 1}

    kept = kept_input(config, {("a", "b", 0)}, scrubber)

    assert orjson.loads(orjson.dumps(kept)) == {"a": {"b": ["***", "x"]}, "c": "***", "d": 1}
    assert config["a"] == {"b": ["made of it", "x"]}


def test_what_expressions_make_of_a_secret_is_hidden_and_their_constants_are_not() -> None:
    expressions = [
        compile_expression(source)
        for source in ("upper(secrets.a)", "[secrets.a == 'x' ? 'yes it is' : 'nothing at all', 1]")
    ]

    found = list(derived(expressions, {"secrets": {"a": "canary"}}))

    assert found == ["CANARY"]


@pytest.mark.parametrize(
    ("allowed", "host", "expected"),
    [
        (["api.test"], "api.test", True),
        (["api.test"], "API.test.", True),
        (["api.test"], "b.api.test", False),
        (["api.test"], "xapi.test", False),
        (["*.api.test"], "b.api.test", True),
        (["*.api.test"], "c.b.api.test", True),
        (["*.api.test"], "api.test", False),
        (["*.api.test"], "xapi.test", False),
        (["*.0.0.1"], "127.0.0.1", False),
        (["127.0.0.1", "::1"], "[::1]", True),
        ([], "api.test", False),
    ],
)
def test_a_host_is_allowed_by_name_or_by_what_it_lies_below(
    allowed: list[str], host: str, expected: bool
) -> None:
    assert permits(allowed, host) is expected


async def test_an_attempt_gets_what_its_config_names_and_no_more(scrubber: Scrubber) -> None:
    crm = Credential("crm", "bearer", {"token": SECRET}, ["api.test", "xn--bcher-kva.test"])
    secrets = AttemptSecrets(scrubber, {"crm": crm}, {"other": ["b.test"]})

    assert await secrets.credential("crm", "api.test", fresh=False) == {"token": SECRET}
    assert await secrets.credential("crm", "bücher.test", fresh=False) is crm
    with pytest.raises(Fail, match="may not be sent to b"):
        await secrets.credential("crm", "b.test", fresh=False)
    with pytest.raises(Fail, match="No field"):
        await secrets.credential("other", None, fresh=False)
    secrets.guard("b.test")
    with pytest.raises(HostNotAllowed):
        secrets.guard("api.test")
    assert [*secrets.used()] == [
        ("crm", "api.test"),
        ("crm", "xn--bcher-kva.test"),
        ("other", "b.test"),
    ]
    assert SECRET not in repr(crm)


@pytest.mark.parametrize("kind", ["bearer", "hmac", "generic"])
def test_data_does_not_show_itself(kind: str) -> None:
    data: dict[str, Any] = {"bearer": {"token": "canary"}, "hmac": {"secret": "canary"}, "generic": {"a": "canary"}}  # fmt: skip

    read = KINDS[kind].model_validate(data[kind])

    assert "canary" not in f"{read} {read!r}"
    assert "canary" in read.secrets()
