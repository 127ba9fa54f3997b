"""API_WORKERS=2, with the real API: both answer, each is replaced, and none outlives what has started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.embedded.network import answers_ok
from app.embedded.waiting import wait_until

pytestmark = pytest.mark.crash

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60.0
Start = Callable[..., Any]
Remaining = Callable[[Path], Sequence[int]]
FAMILY = """
import multiprocessing, sys, threading
from app.api.startup import end_with_parent

def child():
    end_with_parent()
    print("child", flush=True)
    threading.Event().wait()

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    print(process.pid, flush=True)
    process.join()
"""


def api_processes(folder: Path) -> dict[int, int]:
    """Return the API's processes that have begun to serve and still live, each with its parent."""
    names = [file.stem.removeprefix("api-") for file in (folder / "metrics").glob("api-*.prom")]
    return {int(pid): parent for pid in names if (parent := parent_of(int(pid))) is not None}


def parent_of(pid: int) -> int | None:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def test_several_api_processes_answer_are_replaced_and_leave_nothing(
    start_platform: Start, remaining: Remaining
) -> None:
    platform = start_platform(worker="real-api", API_WORKERS="2").until_ready()
    port = int(platform.output.stem.rpartition("-")[2])
    first, second = api_processes(platform.folder)

    for silent in (first, second):
        os.kill(silent, signal.SIGSTOP)
        assert answers_ok("127.0.0.1", port, "/health/ready"), "the other one does not answer"
        os.kill(silent, signal.SIGCONT)

    os.kill(first, signal.SIGKILL)
    assert wait_until(
        lambda: len(api_processes(platform.folder)) == 2 and parent_of(first) is None,
        PATIENCE_SECONDS,
    )
    assert "ended" not in platform.said()

    assert platform.end(signal.SIGTERM) == 0
    assert remaining(platform.folder) == []
    assert "Traceback" not in platform.said()


def test_a_setting_that_does_not_hold_is_told_and_not_tried_again(port: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "uvicorn", "main:app", "--workers", "2", "--port", str(port)],
        env=dict(os.environ) | {"LOG_LEVEL": "loud"},  # noqa: TID251 - of a child
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert ended.stderr.count("The settings do not hold: LOG_LEVEL") == 2, "once for each process"
    assert "Traceback" not in ended.stderr


def test_a_process_ends_with_the_one_that_started_it_beside_others(tmp_path: Path) -> None:
    program = tmp_path / "family.py"
    program.write_text(FAMILY)
    parent = subprocess.Popen(
        [sys.executable, program],
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},  # noqa: TID251 - of a child
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "child\n"

    parent.kill()
    parent.wait()

    assert wait_until(lambda: parent_of(child) is None, PATIENCE_SECONDS)
    parent.stdout.close()
