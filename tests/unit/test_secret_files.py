"""Secrets come from files where the operator says so, and a file that does not hold one is named."""

from pathlib import Path

import pytest

from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError

KEY = "a secret key that is long enough for a test"


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(file))
    return file


def _secret(settings: Settings) -> str | None:
    return settings.secret_key.get_secret_value() if settings.secret_key else None


@pytest.mark.usefixtures("key_file")
def test_a_file_holds_the_value() -> None:
    assert _secret(Settings(_env_file=None)) == KEY


@pytest.mark.usefixtures("key_file")
def test_a_value_given_directly_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", KEY[::-1])

    assert _secret(Settings(_env_file=None)) == KEY[::-1]


@pytest.mark.usefixtures("key_file")
def test_an_empty_value_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "")

    assert _secret(Settings(_env_file=None)) == KEY


def test_dotenv_may_name_the_file(
    tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY_FILE")
    env = tmp_path / "env"
    env.write_text(f"SECRET_KEY_FILE={key_file}\n")

    assert _secret(Settings(_env_file=env)) == KEY


def test_lists_come_from_files_too(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file.write_text("10.0.0.0/8, 192.168.0.1\n")
    monkeypatch.delenv("SECRET_KEY_FILE")
    monkeypatch.setenv("TRUSTED_PROXIES_FILE", str(key_file))

    assert Settings(_env_file=None).trusted_proxies == ("10.0.0.0/8", "192.168.0.1")


def test_what_a_file_holds_is_checked_like_any_value(key_file: Path) -> None:
    key_file.write_text("short")

    with pytest.raises(ConfigurationError, match="SECRET_KEY: needs at least 32 bytes"):
        load_settings()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_holds_no_value_is_named(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)

    with pytest.raises(ConfigurationError, match="SECRET_KEY_FILE"):
        load_settings()


def test_a_file_that_is_not_there_is_named(key_file: Path) -> None:
    key_file.unlink()

    with pytest.raises(
        ConfigurationError, match=r"SECRET_KEY_FILE: .* cannot be read: No such file"
    ):
        load_settings()
