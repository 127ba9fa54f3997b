"""On what the figures were measured: the machine, the versions, and what else it was doing."""

import os
import platform as system
import resource
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from app.core.clock import SystemClock
from benchmarks.platform import ROOT, running
from benchmarks.processes import machine_busy_seconds
from benchmarks.queries import scalar

PACKAGES = ("fastapi", "uvicorn", "uvloop", "sqlalchemy", "psycopg2-binary", "redis", "rq", "httpx")
BYTES_PER_GB = 1_000_000_000


def describe() -> dict[str, str]:
    """Return what a reader must know to compare the figures with others."""
    with running() as platform:
        shown = {
            name: str(scalar(platform.engine, f"SHOW {name}"))
            for name in ("server_version", "fsync", "synchronous_commit")
        }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / BYTES_PER_GB
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    durable = f"fsync {shown['fsync']}, synchronous_commit {shown['synchronous_commit']}"
    return {
        "when": SystemClock().now().strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": f"{cores()} cores ({_processor()}), {memory:.0f} GB, {system.platform()}",
        "versions": f"Python {system.python_version()}, PostgreSQL {shown['server_version']} ({durable}), {packages}",
    }


def cores() -> int:
    """Return the cores that the benchmark may use."""
    return len(os.sched_getaffinity(0))


class Neighbours:
    """Watches how much of the machine's processor time other work takes."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = machine_busy_seconds()
        self._own = _own_seconds()

    def share(self) -> float:
        """Return the share so far, of all cores; our own processes count once they have ended."""
        others = machine_busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, others / (time.perf_counter() - self._began) / (os.cpu_count() or 1))


def _own_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        system.machine(),
    )


def _commit() -> str:
    """Return the commit that is measured, and whether files differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head} and changes" if _git("status", "--porcelain") else head or "unknown"


def _git(*arguments: str) -> str:
    """Return what git says, nothing where there is no repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
