"""Waiting for a condition, with a deadline; looks seldom enough to leave the processors to the platform."""

import threading
import time
from collections.abc import Callable

POLL_SECONDS = 0.04
PATIENCE_SECONDS = 30.0


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait until the condition holds; tell whether it did in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(POLL_SECONDS)
    return True
