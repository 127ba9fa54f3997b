"""The node in docs/writing-a-node.md loads, holds to what is expected of nodes, and runs."""

import re
from pathlib import Path

import pytest

from app.cli.conformance import faults_of
from app.core.config import Settings
from app.core.statuses import RunStatus
from app.engine.registry import load_catalogue
from examples.echo_server import EchoServer
from tests.integration.engine.world import World

PAGE = Path(__file__).resolve().parents[3] / "docs" / "writing-a-node.md"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "write_to_people.py").write_text(code)
    return settings.model_copy(update={"plugins_dir": tmp_path})


def _step(echo: EchoServer, path: str) -> dict[str, object]:
    return {
        "type": "write_to_people",
        "config": {
            "url": f"http://127.0.0.1:{echo.server_port}{path}",
            "people": "input.people",
            "text": "'Hello ' + person.name",
        },
        "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
    }


def test_it_loads_and_holds_to_what_is_expected(settings: Settings) -> None:
    catalogue = load_catalogue(settings.plugins_dir)

    assert catalogue.failures == []
    assert list(faults_of(catalogue, "write_to_people")) == []


@pytest.mark.usefixtures("worker")
async def test_it_writes_to_each_person_with_a_key_of_its_own(
    world: World, echo: EchoServer
) -> None:
    workflow = world.workflow(_step(echo, "/messages"))

    run = await world.start(workflow, {"people": [{"name": "Ada"}, {"name": "Bob"}]})

    assert (run.status, run.output) == (RunStatus.SUCCEEDED, {"sent": 2})
    assert echo.counts()["by_key"] == {f"{run.id}:step_1:0": 1, f"{run.id}:step_1:1": 1}
    assert [line.message for line in world.logs(run.id)] == ["messages sent"]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("path", "people", "code"),
    [
        ("/status/403", [{"name": "Ada"}], "chat_refused"),
        ("/status/200", "Ada", "people_not_a_list"),
    ],
)
async def test_what_cannot_be_mended_fails_at_once(
    world: World, echo: EchoServer, path: str, people: object, code: str
) -> None:
    workflow = world.workflow(_step(echo, path))

    run = await world.start(workflow, {"people": people})

    assert (run.status, run.error["code"]) == (RunStatus.FAILED, code)
    assert len(world.attempts(run.id)) == 1
