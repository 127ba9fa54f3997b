"""Passwords: argon2id, and no difference that tells who has an account."""

import pytest

from app.core.security.passwords import hash_password, verify_password


def test_a_password_fits_its_own_hash_only() -> None:
    stored = hash_password("correct horse")

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify_password("correct horse", stored)
    assert not verify_password("correct house", stored)
    assert hash_password("correct horse") != stored


@pytest.mark.parametrize("password", ["", "aaaaaaaa", "x" * 1025])
def test_nobodys_password_never_fits(password: str) -> None:
    assert not verify_password(password, None)
