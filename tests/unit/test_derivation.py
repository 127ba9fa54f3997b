"""Derived keys are those of HKDF, as any other implementation makes them."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis.strategies import binary, text

from app.core.security.derivation import KEY_BYTES, derived_key


@given(text(min_size=1, alphabet=[*map(chr, range(33, 127))]), binary(max_size=40))
def test_a_key_is_that_of_cryptography(secret: str, purpose: bytes) -> None:
    expected = HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(secret.encode())

    assert derived_key(secret, purpose) == expected
