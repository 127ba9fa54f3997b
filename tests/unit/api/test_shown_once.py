"""API keys as text: ours are read, whatever else comes is refused in one way."""

import pytest

from app.core.errors import NotAuthenticated
from app.core.ids import new_id
from app.core.security.shown_once import digest_of, new_api_key, new_secret, read_api_key

KEY_ID = "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11"
HEX = KEY_ID.replace("-", "")
SECRET = "A" * 43


def test_a_key_names_itself_and_is_known_by_its_digest() -> None:
    text = new_api_key(KEY_ID)

    claims = read_api_key(text)

    assert claims.key_id == KEY_ID
    assert claims.fits(digest_of(text))
    assert not claims.fits(digest_of(new_api_key(KEY_ID)))


def test_secrets_have_256_bits_and_say_what_they_are() -> None:
    secrets = {new_secret("inv_") for _ in range(100)}

    assert len(secrets) == 100
    assert {(text[:4], len(text)) for text in secrets} == {("inv_", 4 + 43)}


def test_only_its_hash_can_be_stored() -> None:
    text = new_api_key(new_id())

    assert len(digest_of(text)) == 64
    assert text not in repr(read_api_key(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ak_",
        f"ak_{HEX}",
        f"ak_{HEX}_",
        f"ak_{HEX}_{SECRET}A",
        f"ak_{HEX}_{SECRET[1:]}",
        f"ak_{HEX}_{SECRET}\n",
        f" ak_{HEX}_{SECRET}",
        f"AK_{HEX}_{SECRET}",
        f"ak_{HEX.upper()}_{SECRET}",
        f"ak_{KEY_ID}_{SECRET}",
        f"ak_{HEX}_{SECRET[1:]}\xe9",
        f"ak_{HEX}_{SECRET[1:]}\u0661",
        f"ak_{HEX}_{SECRET[1:]}\x00",
        f"ak_{HEX}_' OR '1'='1",
        "x" * 100_000,
        "\ud800",
    ],
)
def test_what_is_not_written_like_a_key_is_refused(text: str) -> None:
    with pytest.raises(NotAuthenticated, match="API key is not valid"):
        read_api_key(text)
