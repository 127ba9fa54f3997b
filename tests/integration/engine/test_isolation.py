"""Nodes in processes of their own: whatever one does, its attempt fails with the reason, and nothing else happens."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, SwitchMode, SwitchScope
from app.engine.delivery.process import WorkerProcess
from app.models import KillSwitch, Run
from tests.integration.engine.world import KEY, World

ROOT = Path(__file__).resolve().parents[3]
NODES = Path(__file__).parent / "isolated_nodes"

# The database has no part in this.
pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"plugins_dir": NODES, "lease_seconds": 20, "max_output_bytes": 1_048_576}
    )


def alone(how: str, **options: Any) -> dict[str, Any]:
    return {"type": "misbehave_alone", "config": {"how": how}, **options}


def leaving(how: str, file: Path, **options: Any) -> dict[str, Any]:
    return {"type": "leave_processes", "config": {"how": how, "file": str(file)}, **options}


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def written(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@asynccontextmanager
async def working(settings: Settings, **changes: Any) -> AsyncIterator[WorkerProcess]:
    process = WorkerProcess(settings.model_copy(update=changes))
    process.begin()
    try:
        yield process
    finally:
        await process.end()


async def both(world: World, *workflows: str) -> list[Run]:
    answers = [await world.trigger(workflow) for workflow in workflows]
    return [await world.ended(answer.run_id) for answer in answers]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("segfault", "node_crashed", "SIGSEGV"),
        ("abort", "node_crashed", "SIGABRT"),
        ("exit 0", "node_crashed", "exit code 0"),
        ("close everything", "node_crashed", "exit code 1"),
        ("10 GB", "out_of_memory", "256 MiB"),
        ("10 GB mapped", "out_of_memory", "memory"),
        ("10 GB outside Python", "node_crashed", "SIGABRT"),
        ("killed", "out_of_memory", "SIGKILL"),
        ("raise", "node_error", "ZeroDivisionError"),
        ("sys.exit", "node_error", "SystemExit"),
        ("5 MB", "output_too_large", "5,000,002 bytes"),
        ("NaN", "invalid_output", "JSON"),
    ],
)
async def test_an_attempt_that_goes_wrong_fails_with_its_reason_and_others_run_on(
    world: World, how: str, code: str, says: str
) -> None:
    good = world.workflow({"type": "log", "config": {"message": "fine"}})
    other = world.workflow(alone("pid"))
    bad = world.workflow(alone(how))

    runs = await both(world, good, other, bad, good, other)

    assert runs[2].error["code"] == code
    assert says in runs[2].error["message"]
    assert [run.status for run in runs[:2] + runs[3:]] == [RunStatus.SUCCEEDED] * 4


@pytest.mark.usefixtures("worker")
async def test_what_a_node_logged_outlives_its_crash(world: World) -> None:
    run = await world.start(world.workflow(alone("segfault")))

    [line] = world.logs(run.id)
    assert (line.message, line.data) == ("about to segfault", {"attempt": 1})


@pytest.mark.usefixtures("worker")
async def test_a_crash_is_tried_again_as_the_retry_policy_says(world: World) -> None:
    retry = {"max_attempts": 3, "initial_delay_seconds": 0.01}

    run = await world.start(world.workflow(alone("exit 0", retry=retry)))

    assert run.status is RunStatus.FAILED
    assert [a.status for a in world.attempts(run.id)] == [AttemptStatus.FAILED] * 3


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", ["busy", "swallow"])
async def test_an_endless_attempt_is_killed_at_its_timeout_with_all_that_it_started(
    world: World, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "pids"

    run = await world.start(world.workflow(leaving(how, file, timeout_seconds=0.5)))

    assert run.error["code"] == "step_timed_out"
    assert [a.status for a in world.attempts(run.id)] == [AttemptStatus.TIMED_OUT]
    assert len(written(file)) == 5
    await world.until(lambda: not alive(written(file)))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", ["pid", "exit 0", "segfault", "raise"])
async def test_processes_that_an_attempt_leaves_behind_are_ended(
    world: World, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "pids"

    run = await world.start(world.workflow(leaving(how, file)))

    assert (run.status is RunStatus.SUCCEEDED) == (how == "pid")
    assert len(written(file)) == 5
    await world.until(lambda: not alive(written(file)))


@pytest.mark.usefixtures("worker")
async def test_a_fork_that_comes_back_from_the_node_answers_nothing(world: World) -> None:
    workflow = world.workflow(alone("fork and return"))

    runs = await both(world, workflow, workflow, workflow)

    assert [run.output for run in runs] == ["parent"] * 3


@pytest.mark.usefixtures("worker")
async def test_printing_and_reading_do_not_disturb_the_conversation(world: World) -> None:
    workflow = world.workflow(alone("write"))

    runs = await both(world, workflow, workflow)

    assert [run.output for run in runs] == ["", ""]


async def test_a_process_is_used_again_until_something_is_left_in_it(world: World) -> None:
    pid, thread = world.workflow(alone("pid")), world.workflow(alone("thread"))

    async with working(world.settings, isolated_processes=1):
        first, second = await world.start(pid), await world.start(pid)
        await world.start(thread)
        third = await world.start(pid)

    assert first.output == second.output != third.output


@pytest.mark.usefixtures("worker")
async def test_a_child_finds_no_secret_in_its_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SLACK_TOKEN"):
        monkeypatch.setenv(name, "canary")

    run = await world.start(world.workflow(alone("environment")))

    names = set(run.output["names"])
    assert "PATH" in names
    assert not names & {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SLACK_TOKEN"}


@pytest.mark.usefixtures("worker")
async def test_a_node_in_a_process_gets_the_same_context_and_config(world: World) -> None:
    before = {"id": "before", "type": "transform", "config": {"value": 2}}
    config = {"condition": "item > steps.before.output", "items": [1, "${{ input }}"]}
    ask = {"id": "ask", "type": "ask_alone", "config": config}

    run = await world.start(world.workflow(before, ask), 3)

    now = run.output.pop("now")
    assert run.output == {
        "kept": [3],
        "run_id": run.id,
        "step": "ask",
        "attempt": 1,
        "key": f"{run.id}:ask",
        "upstream": {"before": 2},
    }
    assert now > run.created_at.isoformat()
    assert [(line.level, line.message) for line in world.logs(run.id)] == [("warning", "asked")]


@pytest.mark.usefixtures("worker")
async def test_a_config_that_does_not_fit_in_a_run_is_refused_in_the_process(world: World) -> None:
    workflow = world.workflow(
        {"type": "ask_alone", "config": {"condition": "true", "items": "${{ input }}"}}
    )

    run = await world.start(workflow, "no list")

    assert run.error["code"] == "invalid_config"
    assert "/items" in run.error["message"]


@pytest.mark.usefixtures("worker")
async def test_the_http_client_of_a_process_is_guarded_by_the_same_policy(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened, closed = (
        world.workflow({"type": "fetch_alone", "config": {"url": f"http://{host}:{port}/"}})
        for host in ("127.0.0.1", "[::1]")
    )

    async with server:
        allowed, refused = await both(world, opened, closed)

    assert allowed.output == 204
    assert refused.status is RunStatus.FAILED


async def test_an_attempt_in_a_process_of_its_own_asks_the_worker_before_it_calls(
    world: World, worker: WorkerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = {"url": "http://127.0.0.1:9/", "once_there_is": str(gate)}
    workflow = world.workflow({"id": "a", "type": "fetch_alone", "config": config})
    run_id = (await world.trigger(workflow)).run_id
    await world.until(gate.with_suffix(".ready").exists)
    with Session(world.engine) as session:
        session.add(
            KillSwitch(
                id=new_id(),
                scope=SwitchScope.ALL,
                mode=SwitchMode.HALT,
                reason="fire",
                created_by="op@example.com",
                created_at=SystemClock().now(),
            )
        )
        session.commit()
    await world.until(lambda: len(worker._switches.switches) == 1)

    gate.touch()
    await world.until_status(run_id, RunStatus.PAUSED)

    (attempt,) = world.attempts(run_id)
    assert (attempt.status, attempt.error["code"]) == (AttemptStatus.LOST, "kill_switch")
    assert world.run(run_id).waiting_for[0]["reason"] == "Stopped by a kill switch: fire"


async def test_the_operator_isolates_everything_from_outside_the_package(world: World) -> None:
    workflow = world.workflow({"type": "plain", "config": {}})

    async with working(world.settings):
        trusted = await world.start(workflow)
    async with working(world.settings, plugin_isolation=True):
        isolated = await world.start(workflow)

    assert trusted.output == os.getpid()
    assert isolated.output != os.getpid()


async def test_waiting_for_a_process_is_not_the_time_of_the_step(world: World) -> None:
    workflow = world.workflow({"type": "nap", "config": {}, "timeout_seconds": 1})

    async with working(world.settings, isolated_processes=1):
        runs = await both(world, *[workflow] * 6)

    assert [run.status for run in runs] == [RunStatus.SUCCEEDED] * 6


async def test_waiting_for_a_process_ends_with_the_time_of_the_run(world: World) -> None:
    hog = world.workflow(alone("busy", timeout_seconds=3))
    late = world.workflow({"type": "nap", "config": {}}, timeout_seconds=0.5)

    async with working(world.settings, isolated_processes=1):
        runs = await both(world, hog, late)

    assert runs[1].status is RunStatus.TIMED_OUT
    assert str(runs[1].finished_at) < str(runs[0].finished_at)


async def test_a_file_that_no_longer_loads_is_told(world: World, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text((NODES / "misbehave_alone.py").read_text())

    async with working(world.settings, plugins_dir=tmp_path):
        plugin.write_text("raise RuntimeError('edited')")
        run = await world.start(world.workflow(alone("pid")))

    assert run.error["code"] == "node_not_started"
    assert "RuntimeError: edited" in run.error["message"]


async def test_another_node_type_takes_the_place_of_an_idle_process(world: World) -> None:
    first, second = world.workflow(alone("pid")), world.workflow({"type": "nap", "config": {}})

    async with working(world.settings, isolated_processes=1):
        idle = await world.start(first)
        await world.start(second)
        await world.until(lambda: not alive([idle.output]))


async def test_a_worker_that_stops_leaves_no_process(world: World, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    async with working(world.settings, shutdown_seconds=0):
        idle = await world.start(world.workflow(alone("pid")))
        await world.trigger(world.workflow(leaving("swallow", file)))
        await world.until(lambda: len(written(file)) == 5)

    assert alive([idle.output, *written(file)]) == []


@pytest.fixture
def killable(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process of its own."""
    environment = {
        **os.environ,  # noqa: TID251 - of a child
        "DATABASE_URL": str(world.settings.database_url),
        "REDIS_URL": str(world.settings.redis_url),
        "SECRET_KEY": KEY,
        "PLUGINS_DIR": str(NODES),
    }
    process = subprocess.Popen([sys.executable, str(ROOT / "worker.py")], env=environment)
    yield process
    process.kill()
    process.wait()


@pytest.mark.crash
async def test_a_worker_that_is_killed_leaves_no_process(
    world: World, killable: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "pids"
    idle = await world.start(world.workflow(alone("pid")))
    await world.trigger(world.workflow(leaving("swallow", file)))
    await world.until(lambda: len(written(file)) == 5)

    killable.send_signal(signal.SIGKILL)

    await world.until(lambda: not alive([idle.output, *written(file)]))
