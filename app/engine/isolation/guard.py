"""Run a command and leave nothing of it behind: `python -I -S guard.py COMMAND …`, standard library only.

Standard input is a socket whose other end the worker holds. The guard ends the command, with every process that came
of it, when the command ends, when the worker says so (SIGTERM), and when the worker is gone (the socket hangs up).
It then ends in the way in which the command ended.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
FAILED = 125
ON_LINUX = sys.platform == "linux"


def main(command: list[str]) -> NoReturn:
    """Start the command, wait for its end, and clean up."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    guard = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    adopt_orphans()
    runner = os.fork()
    if runner == 0:
        become(command, guard)
    signal.signal(signal.SIGTERM, lambda *_: kill(runner))
    threading.Thread(target=obey_hang_up, daemon=True).start()
    # Only now: blocked in the thread, the signal always interrupts the wait below.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(runner, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_leftovers(runner)
    end_like(os.waitstatus_to_exitcode(status))


def become(command: list[str], guard: int) -> NoReturn:
    """Turn the fresh fork into the command, which dies with the guard and leads a process group of its own."""
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    adopt_orphans()  # lets it see, after an attempt, whether anything is left of it
    if ON_LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guard:
        os._exit(FAILED)
    os.execv(command[0], command)  # noqa: S606 - the worker names the program


def adopt_orphans() -> None:
    """Have processes whose parents die become children of this one, rather than of init (Linux)."""
    if ON_LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def obey_hang_up() -> None:
    """Wait until the worker's end of the socket is closed; then do as if the worker had said so."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def end_leftovers(group: int) -> None:
    """Kill what the command left running: its process group, and whatever else became a child of ours."""
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in children():
                kill(pid)
            os.waitpid(-1, 0)


def children() -> Iterator[int]:
    """Yield the children of this process, as /proc shows them."""
    own = str(os.getpid())
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if entry.read_text().rpartition(") ")[2].split()[1] == own:
                yield int(entry.parent.name)


def end_like(code: int) -> NoReturn:
    """End with the same exit code, or by the same signal."""
    if code < 0:
        number = -code
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(code if code >= 0 else FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
