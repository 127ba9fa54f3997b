"""The API keeps to its OpenAPI document, whatever is sent: every check of schemathesis, as two users who must not meet."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.world import ADA, MALLORY, build, register, sign_in
from tests.e2e.crash.harness.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
FEW, MANY = "2", "100"
API = ROOT / "tests/integration/api"
NOT_CALLED = {
    "POST /api/v1/logout": ("ends the session of those who call", "test_sessions.py"),
    "POST /api/v1/me/sessions/revoke": ("ends the sessions of those who call", "test_sessions.py"),
    "PUT /api/v1/admin/policies": ("forbids everybody anything", "test_policies.py"),
    "POST /api/v1/admin/kill_switch": ("stops the whole platform", "test_kill_switches.py"),
    "GET /metrics": ("answers in Prometheus' words", "test_metrics.py"),
}
"""What is left out, why, and the file in tests/integration/api that calls it."""
NEVER_SUCCEEDS = {
    "POST /api/v1/me/password": ("would end the sessions of those who call", "test_account.py"),
    "GET /api/v1/oidc/login": ("there is no provider here", "test_oidc.py"),
    "GET /api/v1/oidc/callback": ("there is no provider here", "test_oidc.py"),
}
"""What is called, and never answers 2xx."""
PUBLIC = (
    "GET /api/v1/nodes/{node_type}",
    "GET /api/v1/approvals/links/{token}",
    "POST /api/v1/approvals/links/{token}",
)
"""What names something in its address that is nobody's, or belongs to whoever has the address."""


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
    _prepare(platform, folder)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run",
        str(platform.http.base_url.join("/openapi.json")), "--checks", "all", "--phases", "examples,coverage,fuzzing",
        "--max-examples", examples, "--seed", "1", "--no-color",
    ]  # fmt: skip

    run = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    seen = json.loads((folder / "reached.json").read_text())
    called = _operations(platform) - NOT_CALLED.keys()
    assert seen["statuses"].keys() == called
    missed = {label for label, statuses in seen["statuses"].items() if not _succeeds(statuses)}
    assert missed == NEVER_SUCCEEDS.keys()
    assert seen["strangers"].keys() == {label for label in called if "{" in label} - {*PUBLIC}


def test_what_is_left_out_exists_and_is_tested_elsewhere(platform: Platform) -> None:
    left_out = NOT_CALLED | NEVER_SUCCEEDS

    assert _operations(platform) >= left_out.keys()
    for label, (_, file) in left_out.items():
        assert label.split("/")[-1] in (API / file).read_text()


def _prepare(platform: Platform, folder: Path) -> None:
    """Write down what schemathesis is told: who there is, what they have, and what is not to be called."""
    register(platform.http, ADA)
    ada = f"Bearer {sign_in(platform.http, ADA)['access_token']}"
    platform.http.headers["Authorization"] = ada
    world = asdict(build(platform.http))
    register(platform.http, MALLORY)
    mallory = f"Bearer {sign_in(platform.http, MALLORY)['access_token']}"
    (folder / "world.json").write_text(json.dumps({**world, "stranger": mallory, "public": PUBLIC}))
    users = [_as_user("ada", ada), _as_user("mallory", mallory)]
    (folder / "users.json").write_text(json.dumps({"auth": users}))
    skipped = "".join(
        f'\n[[operations]]\ninclude-name = "{label}"\nenabled = false\n' for label in NOT_CALLED
    )
    (folder / "schemathesis.toml").write_text(CONFIG.read_text() + skipped)


def _as_user(name: str, authorization: str) -> dict[str, object]:
    """Return how schemathesis sends who somebody is."""
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": authorization}]}


def _operations(platform: Platform) -> set[str]:
    document = httpx.get(str(platform.http.base_url.join("/openapi.json"))).json()
    paths: dict[str, dict[str, Any]] = document["paths"]
    return {f"{method.upper()} {path}" for path, found in paths.items() for method in found}


def _succeeds(statuses: dict[str, int]) -> bool:
    return any(status.startswith("2") for status in statuses)
