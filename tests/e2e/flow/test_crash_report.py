"""What an exception that nobody expected leaves in the log: where it happened, and nothing of the data."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import main
from app.core.logging import get_logger

def stumble(password):
    return 1 / len(password[:0])

try:
    stumble("canary-of-a-local-value")
except ZeroDivisionError:
    get_logger("test").exception("crashed")
"""


def test_a_traceback_shows_no_local_values() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "ZeroDivisionError" in done.stderr
    assert "canary-of-a-local-value" not in done.stderr
