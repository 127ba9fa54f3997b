"""What is encrypted opens only with its key, whole, and for what it was sealed for."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.core.security.encryption import (
    DERIVED_KEY_ID,
    CannotDecrypt,
    KeyRing,
    Sealed,
    key_ring,
    new_key,
    parse_keys,
)

KEY = base64.b64encode(b"k" * 32).decode()


def _settings(keys: str | None = None, secret: str = "s" * 32) -> Settings:
    encryption_keys = None if keys is None else SecretStr(keys)
    return Settings(
        _env_file=None,
        data_dir=Path("/nowhere"),
        secret_key=SecretStr(secret),
        encryption_keys=encryption_keys,
    )


def test_what_is_sealed_opens_for_what_it_was_sealed_for() -> None:
    ring = key_ring(_settings())

    sealed = ring.seal(b"hunter2", "credential:1")

    assert ring.open(sealed, "credential:1") == b"hunter2"
    assert b"hunter2" not in sealed.ciphertext


def test_moved_to_another_row_it_does_not_open() -> None:
    ring = key_ring(_settings())
    sealed = ring.seal(b"hunter2", "credential:1")

    with pytest.raises(CannotDecrypt):
        ring.open(sealed, "credential:2")


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_changed_byte_does_not_open(place: int) -> None:
    ring = key_ring(_settings())
    sealed = ring.seal(b"hunter2", "credential:1")
    changed = bytearray(sealed.ciphertext)
    changed[place] ^= 1

    with pytest.raises(CannotDecrypt):
        ring.open(Sealed(sealed.key_id, bytes(changed)), "credential:1")


def test_too_short_to_be_a_ciphertext_does_not_open() -> None:
    ring = key_ring(_settings())

    with pytest.raises(CannotDecrypt):
        ring.open(Sealed(DERIVED_KEY_ID, b"short"), "credential:1")


def test_the_first_key_seals_and_older_ones_still_open() -> None:
    old = key_ring(_settings(f"k1:{KEY}"))
    sealed = old.seal(b"hunter2", "x")

    newer = key_ring(_settings(f"{new_key('k2')}, k1:{KEY}"))

    assert (sealed.key_id, newer.current) == ("k1", "k2")
    assert newer.open(sealed, "x") == b"hunter2"


def test_without_keys_one_is_made_from_the_secret_key() -> None:
    ring = key_ring(_settings())

    assert ring.current == DERIVED_KEY_ID


def test_what_that_one_has_sealed_opens_beside_the_first_key_of_the_operator() -> None:
    sealed = key_ring(_settings()).seal(b"hunter2", "x")

    assert key_ring(_settings(new_key("k1"))).open(sealed, "x") == b"hunter2"


def test_a_key_that_is_gone_is_named() -> None:
    sealed = key_ring(_settings(f"k1:{KEY}")).seal(b"hunter2", "x")

    with pytest.raises(CannotDecrypt, match="k1"):
        key_ring(_settings()).open(sealed, "x")


def test_nonces_never_repeat() -> None:
    ring = KeyRing({"k": b"k" * 32})

    nonces = {ring.seal(b"", "x").ciphertext[:12] for _ in range(1000)}

    assert len(nonces) == 1000


@pytest.mark.parametrize(
    "text", ["k1", f":{KEY}", "k1:c2hvcnQ=", f"k-1:{KEY}", "k1:%%%", f"k1:{KEY},k1:{KEY}"]
)
def test_keys_that_do_not_hold_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
        parse_keys(text)
