"""A worker process: `python worker.py`. Add workers to go faster; they share the work through the database and Redis."""

import sys

import uvloop

from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging
from app.engine.delivery.process import WorkerProcess


async def work() -> None:
    """Run one worker until it is told to stop."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    await WorkerProcess(settings).run()


if __name__ == "__main__":
    try:
        uvloop.run(work())
    except ConfigurationError as error:
        sys.exit(error.detail)
