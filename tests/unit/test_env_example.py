"""`.env.example` says what there is to set: exactly the Settings, and what docker-compose.yml asks for besides."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.config import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_SECTION = "# ---- docker compose only"
ENTRY = re.compile(r"^# (?P<comment>.+)\n#(?P<name>[A-Z_]+)=(?P<value>.*)$", re.MULTILINE)
COMPOSE_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z_]+)")


@dataclass(frozen=True)
class Entry:
    comment: str
    name: str
    value: str


def _sections() -> tuple[list[Entry], list[Entry]]:
    settings, _, compose = (ROOT / ".env.example").read_text().partition(COMPOSE_SECTION)
    return _entries(settings), _entries(compose)


def _entries(text: str) -> list[Entry]:
    return [Entry(**found.groupdict()) for found in ENTRY.finditer(text)]


def _setting_names() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


def test_it_lists_every_setting_in_its_order() -> None:
    settings, _ = _sections()

    assert [entry.name for entry in settings] == _setting_names()


def test_each_comment_is_the_description_of_the_setting() -> None:
    settings, _ = _sections()

    comments = {entry.name: entry.comment for entry in settings}

    assert comments == {
        name.upper(): field.description for name, field in Settings.model_fields.items()
    }


def test_only_settings_without_a_default_have_no_value() -> None:
    settings, _ = _sections()

    empty = {entry.name for entry in settings if not entry.value}

    assert empty == {
        name.upper() for name, field in Settings.model_fields.items() if field.default in (None, ())
    }


def test_uncommented_as_it_stands_it_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _setting_names():
        monkeypatch.delenv(name, raising=False)
    settings, _ = _sections()
    uncommented = tmp_path / "env"
    uncommented.write_text("".join(f"{entry.name}={entry.value}\n" for entry in settings))

    read = Settings(_env_file=uncommented)

    assert read == Settings(_env_file=None)


def test_it_says_what_docker_compose_asks_for_besides() -> None:
    _, compose = _sections()
    asked = set(COMPOSE_VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))

    listed = {entry.name for entry in compose}

    assert listed == asked - set(_setting_names())


def test_docker_compose_has_the_same_defaults() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    settings, compose = _sections()
    documented = {entry.name: _number_or_text(entry.value) for entry in [*settings, *compose]}

    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", text))
    used.pop("PLUGINS_DIR")  # a folder of the host there; the comment of the section says so
    used.pop("ARTIFACTS_URL")  # a volume there; likewise
    used.pop("AUDIT_ANCHOR")  # on the same volume

    assert used.keys() >= {"HOST", "PORT", "WORKERS", "SHUTDOWN_SECONDS"}
    assert {name: _number_or_text(value) for name, value in used.items()} == {
        name: documented[name] for name in used
    }


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
