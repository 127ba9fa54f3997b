"""What an exception that nobody expected leaves in the log: where it happened, and nothing of the data."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CANARY = "canary-of-a-local-value"
# A traceback may quote the source (since Python 3.13 that of `-c` too), so the value is handed over from outside it.
SCRIPT = """
import sys

import main
from app.core.logging import get_logger

def stumble(password):
    return 1 / len(password[:0])

try:
    stumble(sys.argv[1])
except ZeroDivisionError:
    get_logger("test").exception("crashed")
"""


def test_a_traceback_shows_no_local_values() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, CANARY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "ZeroDivisionError" in done.stderr
    assert CANARY not in done.stderr
