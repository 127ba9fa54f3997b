"""A process that we start, watch and stop: it dies with us, whatever becomes of us."""

import json
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from app.embedded.identity import Identity
from app.embedded.leftovers import Ending
from app.embedded.waiting import wait_until

LAUNCHER = Path(__file__).with_name("launch.py")


class Managed(ABC):
    """One process with a name. Launch it from a thread that outlives it: Linux ties its life to that thread.

    `ending` are the signals that stop it, each with the seconds to wait before the next; `hasty_seconds` is what is
    left of that patience once somebody is in a hurry.
    """

    ending: Ending = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
    hasty_seconds: float = 0.0
    ready_word: str = "ready"
    death_signal: signal.Signals = signal.SIGKILL

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None

    @abstractmethod
    def launch(self) -> None:
        """Start the process and do not wait for it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether it can do its work by now."""

    def explain_end(self) -> str:
        """Return one sentence about how it ended."""
        return f"{self.name} ended ({self.how_it_ended()})."

    def how_it_ended(self) -> str:
        """Return the exit code or signal, in words."""
        code = self.process.returncode if self.process else 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def has_ended(self) -> bool:
        """Tell whether it is gone; what it started itself goes with it."""
        if self.process is None:
            return True
        if self.process.poll() is None:
            return False
        self._end_group()
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives: SIGKILL to all of its group."""
        if self.process is None or self.process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Stop it by each signal of its ending, until it is gone."""
        self.end()
        self.clean_up()

    def end(self) -> None:
        """Stop it, and keep what the next launch would use again."""
        for number, patience in self.ending:
            self.send(number)
            if wait_until(self.has_ended, patience):
                return

    def clean_up(self) -> None:
        """Forget the process that was stopped."""
        self.process = None

    def spawn(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        identity: Identity | None = None,
        output: IO[bytes] | int | None = None,
    ) -> None:
        """Start a command in a process group of its own, out of reach of the terminal's Ctrl-C."""
        spec = {
            "parent": os.getpid(),
            "death_signal": int(self.death_signal),
            "identity": identity.as_spec() if identity else None,
        }
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec)]
        self.process = subprocess.Popen(  # noqa: S603 - the caller names the program
            [*launcher, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
        )
        self._group = self.process.pid

    def _end_group(self) -> None:
        """Kill what it left in its group, once: the number of an empty group may be given to others."""
        group, self._group = self._group, None
        if group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
