"""Interrupts a node that blocks the event loop, so that one bad node does not hold up every other run.

A thread watches the loop's heartbeat. When it stalls, it signals the main thread, which Python interrupts even inside a
blocking call; the handler raises only within a node's own code. What cannot be interrupted ends the process: others
take its runs over.
"""

import asyncio
import os
import signal
import threading
import time
from types import FrameType

from app.core.logging import get_logger
from app.engine.executor import NodeBlockedLoop, is_node_frame

BEATS_PER_STALL = 10
MAX_BEAT_SECONDS = 1.0
STALL_SECONDS = 5.0
GIVE_UP_SECONDS = 30.0
EXIT_CODE = 70
log = get_logger(__name__)


class LoopWatchdog:
    """Watches one event loop, which must run in the main thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._loop = loop
        self._stall_seconds = stall_seconds
        self._beat_seconds = min(stall_seconds / BEATS_PER_STALL, MAX_BEAT_SECONDS)
        self._last_beat = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        signal.signal(signal.SIGUSR1, self._interrupt)
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        if not self._stop.is_set():
            self._loop.call_later(self._beat_seconds, self._beat)

    def _stalled_seconds(self) -> float:
        return time.monotonic() - self._last_beat

    def _watch(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            stalled = self._stalled_seconds()
            if stalled > self._stall_seconds + GIVE_UP_SECONDS:
                log.error(
                    "event_loop_stuck",
                    seconds=round(stalled),
                    action="the process ends; others take over",
                )
                os._exit(EXIT_CODE)
            if stalled > self._stall_seconds:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        if self._stalled_seconds() > self._stall_seconds and is_node_frame(frame):
            self._last_beat = (
                time.monotonic()
            )  # the loop gets a full time-out to recover before the next try
            raise NodeBlockedLoop
