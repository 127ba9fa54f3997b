"""The commands in README.md and examples/README.md do what the pages say, against a real API and worker."""

import asyncio
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn
from pydantic import SecretStr

from app.api.application import create_app
from app.core.statuses import FINAL_RUN_STATUSES, RunStatus
from app.engine.evidence.bundle import faults_of
from examples.echo_server import EchoServer
from tests.integration.engine.world import KEY, World

ROOT = Path(__file__).resolve().parents[3]
RunPage = Callable[[str], Awaitable[str]]
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)

pytestmark = [
    pytest.mark.usefixtures("worker"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl"),
]


@pytest.fixture
async def api(world: World) -> AsyncIterator[str]:
    """The API over a real socket; returns its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    changes = {"secret_key": SecretStr(KEY), "public_url": address}
    app = create_app(world.settings.model_copy(update=changes))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await world.until(lambda: server.started)
    yield address
    server.should_exit = True
    await serving


@pytest.fixture
def run_page(api: str, echo: EchoServer, tmp_path: Path) -> RunPage:
    """Run the blocks of a page as one script, with the test's addresses; returns what they print."""
    local = f"http://127.0.0.1:{echo.server_port}"
    addresses = {
        "http://127.0.0.1:8000": api,
        "http://127.0.0.1:9000": local,
        "https://discord.com": local,
    }

    def with_addresses(text: str) -> str:
        for there, here in addresses.items():
            text = text.replace(there, here)
        return text

    (tmp_path / "examples").mkdir()
    for file in (ROOT / "examples").glob("*.json"):
        (tmp_path / "examples" / file.name).write_text(with_addresses(file.read_text()))

    async def run(page: str) -> str:
        script = with_addresses("\n".join(BLOCK.findall((ROOT / page).read_text())))
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script,
            cwd=tmp_path,
            env={"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    return run


async def _statuses(world: World) -> list[RunStatus]:
    """Wait for the end of all runs; returns how they ended."""
    await world.until(lambda: all(run.status in FINAL_RUN_STATUSES for run in world.runs()))
    return [run.status for run in world.runs()]


async def test_the_first_screen_makes_an_account_and_runs_a_workflow(
    world: World, run_page: RunPage, echo: EchoServer
) -> None:
    said = await run_page("README.md")

    assert await _statuses(world) == [RunStatus.SUCCEEDED]
    assert '"duplicate": false' in said
    assert '"items": [' in said
    assert echo.counts()["by_path"] == {"/api/webhooks/xxx/yyy": 1}


async def test_the_examples_page_runs_all_of_them(
    world: World, run_page: RunPage, echo: EchoServer, tmp_path: Path
) -> None:
    said = await run_page("examples/README.md")

    assert await _statuses(world) == [RunStatus.SUCCEEDED] * 7
    assert said.count('"status":"queued"') == 6
    assert '"status":"approved"' in said
    assert '"cron":"0 3 * * *","timezone":"Europe/Berlin"' in said
    assert list(faults_of((tmp_path / "incident.json").read_bytes())) == []
    paths = echo.counts()["by_path"]
    assert (paths["/fulfilments"], paths["/refunds"]) == (1, 1)
