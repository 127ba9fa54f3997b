"""The API keeps to its OpenAPI document, whatever is sent: every check of schemathesis, as two users who must not meet."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.crash.harness.platform import ACCOUNT, Platform

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
FEW, MANY = "2", "100"
NOT_CALLED = {
    "/api/v1/logout": "ends the session of those who call",
    "/api/v1/me/sessions/revoke": "ends the sessions of those who call",
    "/metrics": "answers in Prometheus' words",
}
"""Addresses that are left out, and why."""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="automateos-contract-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def platform(folder: Path, postgres_url: str, redis_url: str) -> Iterator[Platform]:
    platform = Platform(folder, postgres_url, redis_url)
    try:
        platform.worker()
        platform.api()
        yield platform
    finally:
        platform.stop()


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_the_api_keeps_to_its_openapi_document(
    platform: Platform, folder: Path, examples: str
) -> None:
    users = folder / "users.json"
    users.write_text(json.dumps({"auth": [_user(platform, "ada"), _user(platform, "bob")]}))
    config = folder / "schemathesis.toml"
    peers = f'\n[auth.wfc]\npath = "{users}"\npeers = ["ada", "bob"]\n'
    config.write_text(CONFIG.read_text() + peers)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
        str(platform.http.base_url.join("/openapi.json")), "--checks", "all", "--phases", "examples,coverage,fuzzing",
        "--max-examples", examples, "--seed", "1", "--no-color",
    ]  # fmt: skip
    for path in NOT_CALLED:
        command += ["--exclude-path", path]

    run = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]


def test_what_is_left_out_exists(platform: Platform) -> None:
    document = httpx.get(str(platform.http.base_url.join("/openapi.json"))).json()

    assert document["paths"].keys() >= NOT_CALLED.keys()


def _user(platform: Platform, name: str) -> dict[str, object]:
    """Register somebody; returns how schemathesis sends who they are."""
    account = ACCOUNT | {"email": f"{name}@example.com"}
    assert platform.http.post("/register", json=account).status_code == 201
    form = {"username": account["email"], "password": account["password"]}
    token = platform.http.post("/login", data=form).json()["access_token"]
    header = {"name": "Authorization", "value": f"Bearer {token}"}
    return {"name": name, "fixedHeaders": [header]}
