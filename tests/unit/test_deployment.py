"""The images and docker-compose.yml, as far as reading them can tell; no engine is needed."""

import json
import re
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.core.config import Settings
from app.embedded.programs import Programs, own_programs

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ("Dockerfile", "Dockerfile.worker")
OUR_IMAGES = {"automateos-api", "automateos-worker"}
DECIDED_BY_COMPOSE = {"HOST", "PORT", "DATA_DIR", "WORKERS", "MIGRATION_DATABASE_URL"}


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _compose() -> str:
    return _read("docker-compose.yml")


def _services() -> dict[str, str]:
    """Return the text of each service; a YAML parser is not among our requirements."""
    _, _, rest = _compose().partition("\nservices:\n")
    services, _, _ = rest.partition("\nnetworks:\n")
    parts = re.split(r"^  ([a-z]+):\n", services, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _command(dockerfile: str) -> list[str]:
    _, _, command = _read(dockerfile).replace("\\\n", "").rpartition("\nCMD ")
    words: list[str] = json.loads(command)
    return words


def _stages(dockerfile: str) -> list[str]:
    return _read(dockerfile).split("\nFROM ")[1:]


def _user(dockerfile: str) -> str:
    users: list[str] = re.findall(r"^USER (\S+)$", _stages(dockerfile)[-1], re.MULTILINE)
    return users[-1]


def _programs() -> Programs:
    return own_programs(Settings.model_construct(host="0.0.0.0", port=8000, api_workers=1))


def test_the_images_run_the_commands_of_the_local_platform() -> None:
    programs = _programs()

    shell, option, api = _command("Dockerfile")
    assert (shell, option) == ("sh", "-c")
    assert api.replace("${API_WORKERS:-1}", "1").split()[2:] == list(programs.api)[1:]
    assert _command("Dockerfile.worker")[1:] == list(programs.worker)[1:]


def test_the_api_believes_no_proxy_by_itself_and_cuts_off_slow_clients() -> None:
    options = " ".join(_programs().api)

    assert "--no-proxy-headers" in options
    assert "--http app.api.slow_clients:HeadDeadline" in options


def test_both_images_share_their_first_layers_and_the_user() -> None:
    api, worker = (_stages(name) for name in DOCKERFILES)

    assert api[0].partition("COPY app app")[0] == worker[0].partition("COPY app app")[0]
    assert api[1].partition("\nUSER ")[0] == worker[1].partition("\nUSER ")[0]
    assert _user("Dockerfile") == _user("Dockerfile.worker")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_pinned_locked_and_not_root(name: str) -> None:
    text = _read(name)

    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)

    assert len(bases) == 2
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-[a-z]+", base) for base in bases)
    assert "--require-hashes" in text
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", _user(name))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_all_that_an_image_copies_exists_and_is_let_into_the_build(name: str) -> None:
    copied = re.findall(r"^COPY (?!--)(\S+) \S+$", _read(name), re.MULTILINE)
    let_in = re.findall(r"^!(\S+)$", _read(".dockerignore"), re.MULTILINE)

    assert copied
    assert set(copied) <= set(let_in)
    assert all((ROOT / path).exists() for path in copied)
    assert "\n*\n" in _read(".dockerignore")


def test_there_are_the_five_services() -> None:
    assert set(_services()) == {"postgres", "redis", "migrate", "api", "worker"}


@pytest.mark.parametrize(
    "secret", ["POSTGRES_PASSWORD", "POSTGRES_APP_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY"]
)
def test_it_does_not_start_without_a_secret(secret: str) -> None:
    refusals = re.findall(rf"\$\{{{secret}:\?([^}}]+)\}}", _compose())

    assert len(refusals) == 1
    assert "openssl rand" in refusals[0]
    assert f"${{{secret}:-" not in _compose()


def test_only_the_api_is_published() -> None:
    published = {name for name, text in _services().items() if "ports:" in text}

    assert published == {"api"}


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_the_servers_are_cut_off_from_the_world_and_keep_their_data(service: str) -> None:
    text = _services()[service]

    assert "networks: [inside]" in text
    assert f"{service}-data:/" in text
    assert "healthcheck:" in text
    assert "inside: {internal: true}" in _compose()


@pytest.mark.parametrize("service", ["api", "worker"])
def test_nothing_of_ours_starts_before_servers_and_schema(service: str) -> None:
    text = _services()[service]

    assert "postgres: {condition: service_healthy}" in text
    assert "redis: {condition: service_healthy}" in text
    assert "migrate: {condition: service_completed_successfully}" in text


def test_the_migration_is_a_command_that_exists() -> None:
    text = _services()["migrate"]

    assert "command: [python, -m, app.cli, migrate]" in text
    assert 'restart: "no"' in text
    assert "migrate" in COMMANDS


@pytest.mark.parametrize("service", ["postgres", "redis", "migrate", "api", "worker"])
def test_every_container_is_locked_down(service: str) -> None:
    assert "<<: *locked-down" in _services()[service]


def test_images_of_others_are_pinned_to_a_version() -> None:
    images = set(re.findall(r"^    image: (\S+)$", _compose(), re.MULTILINE)) - OUR_IMAGES

    assert len(images) == 2
    assert all(re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+-[a-z0-9-]+", image) for image in images)


def test_every_setting_reaches_the_containers() -> None:
    _, _, rest = _compose().partition("x-settings: &settings\n")
    given = set(re.findall(r"^  ([A-Z_]+):", rest.partition("\n\n")[0], re.MULTILINE))

    assert given == {name.upper() for name in Settings.model_fields} - DECIDED_BY_COMPOSE


def test_workers_are_scaled_and_given_time_to_stop() -> None:
    text = _services()["worker"]

    assert "replicas: ${WORKERS:-1}" in text
    assert 'stop_grace_period: "1m${SHUTDOWN_SECONDS:-20}s"' in text
    assert "container_name" not in text
