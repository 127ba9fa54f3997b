"""Processor time and memory of the platform's processes, read from /proc: needs Linux."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import ConfigurationError

PROC = Path("/proc")
BYTES_PER_MB = 1_000_000
KINDS = (
    ("API", "uvicorn"),
    ("API", "multiprocessing.spawn"),
    ("worker", "worker.py"),
    ("Postgres", "postgres"),
    ("Redis", "valkey"),
    ("Redis", "redis"),
)
"""Kinds of process, each with a word of its command line, in the order in which they are tried."""
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Process:
    """A process: its id, its parent's, its kind, and the processor time that it and its ended children have taken."""

    pid: int
    parent: int
    kind: str
    cpu_seconds: float


def require_proc() -> None:
    """Refuse a system that has no /proc.

    Raises:
        ConfigurationError: it is none of Linux.
    """
    if not (PROC / "self" / "stat").exists():
        raise ConfigurationError(
            "The benchmark reads processor time and memory from /proc: run it on Linux."
        )


def platform_processes(root: int) -> list[Process]:
    """Return a process and everything that descends from it."""
    everything = [process for entry in PROC.glob("[0-9]*") if (process := _read(entry))]
    found = [process for process in everything if process.pid == root]
    for parent in found:  # grows as descendants are found
        found += [process for process in everything if process.parent == parent.pid]
    return found


def cpu_seconds(root: int) -> dict[str, float]:
    """Return the processor time of a process and its descendants, by kind."""
    totals: dict[str, float] = {}
    for process in platform_processes(root):
        totals[process.kind] = totals.get(process.kind, 0.0) + process.cpu_seconds
    return totals


def resident_mb(root: int, kind: str) -> float:
    """Return the resident memory of the largest process of a kind, in MB."""
    return _largest(root, kind, ("Rss:",))


def private_mb(root: int, kind: str) -> float:
    """Return what of that memory no other process shares, in MB: what one more such process would take."""
    return _largest(root, kind, ("Private_Clean:", "Private_Dirty:"))


def machine_busy_seconds() -> float:
    """Return the processor time that the whole machine has spent on work since it started."""
    fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, interrupt, soft, stolen = (
        int(field) for field in fields[:8]
    )
    return (user + nice + system + interrupt + soft + stolen) / os.sysconf("SC_CLK_TCK")


def parse_stat(line: str) -> tuple[int, float]:
    """Return the parent and the processor seconds of a line of /proc/PID/stat (proc(5)), ended children included."""
    fields = line.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])
    return int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")


def kind_of(command: str) -> str:
    """Return what kind of process a command line starts."""
    return next((kind for kind, word in KINDS if word in command), SUPERVISOR)


def _read(entry: Path) -> Process | None:
    try:
        parent, seconds = parse_stat((entry / "stat").read_text())
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended meanwhile
        return None
    return Process(int(entry.name), parent, kind_of(command), seconds)


def _largest(root: int, kind: str, parts: Collection[str]) -> float:
    pids = [process.pid for process in platform_processes(root) if process.kind == kind]
    return max((_memory(pid, parts) for pid in pids), default=0.0)


def _memory(pid: int, parts: Collection[str]) -> float:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0
    kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith(tuple(parts)))
    return kilobytes * 1024 / BYTES_PER_MB
