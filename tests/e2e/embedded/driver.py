"""`up` with stand-ins: driver.py WORKER_ROLE [MIGRATION_CODE]; everything else comes from the environment."""

import sys
from pathlib import Path

from app.core.config import load_settings
from app.core.errors import AutomateError
from app.embedded.platform import run_platform
from app.embedded.programs import Programs

STAND_INS = str(Path(__file__).with_name("stand_ins.py"))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(worker: str, migration: str = "pass") -> None:
    """Run the platform until a signal."""
    programs = Programs(
        api=[sys.executable, STAND_INS, "api"],
        worker=[sys.executable, STAND_INS, worker],
        migration=[sys.executable, "-c", migration],
    )
    try:
        run_platform(load_settings(), programs, say)
    except AutomateError as error:
        sys.exit(error.detail)


if __name__ == "__main__":
    main(*sys.argv[1:])
