"""Ending what a killed parent left behind, and never anybody else's process."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from app.embedded.waiting import wait_until

Ending = Sequence[tuple[signal.Signals, float]]


def end_leftover(pid_file: Path, folder: Path, ending: Ending) -> None:
    """End the server that works in `folder` according to its pid file, by each signal in turn until it is gone.

    A process id may be in use again by something else: then the file is removed, for the server would believe it.
    """
    pid = _read_pid(pid_file)
    if pid is None:
        return
    if not works_in(pid, folder):
        pid_file.unlink(missing_ok=True)
        return
    for number, patience in ending:
        os.kill(pid, number)
        if wait_until(lambda: not works_in(pid, folder), patience):
            # One that was killed has not removed it, and its id may be taken still: nobody has asked for its end.
            pid_file.unlink(missing_ok=True)
            return


def works_in(pid: int, folder: Path) -> bool:
    """Tell whether the process lives and was started for this folder."""
    if not Path("/proc/self").exists():
        return str(folder) in _command_line(pid)
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False


def _read_pid(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if pid > 0 else None


def _command_line(pid: int) -> str:
    """Ask `ps`, where there is no /proc."""
    command = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - fixed
