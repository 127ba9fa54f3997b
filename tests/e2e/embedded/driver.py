"""`up` with stand-ins: driver.py WORKER_ROLE [MIGRATION_CODE]; everything else comes from the environment.

`driver.py real-api` has a stand-in for the worker alone.
"""

import sys
from dataclasses import replace
from pathlib import Path

from app.core.config import load_settings
from app.core.errors import AutomateError
from app.embedded.platform import run_platform
from app.embedded.programs import Programs, own_programs

STAND_INS = str(Path(__file__).with_name("stand_ins.py"))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(worker: str, migration: str = "pass") -> None:
    """Run the platform until a signal."""
    settings = load_settings()
    programs = Programs(
        api=[sys.executable, STAND_INS, "api"],
        worker=[sys.executable, STAND_INS, worker],
        migration=[sys.executable, "-c", migration],
    )
    if worker == "real-api":
        programs = replace(own_programs(settings), worker=[sys.executable, STAND_INS, "worker"])
    try:
        run_platform(settings, programs, say)
    except AutomateError as error:
        sys.exit(error.detail)


if __name__ == "__main__":
    main(*sys.argv[1:])
