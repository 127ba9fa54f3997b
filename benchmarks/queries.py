"""What the benchmarks ask the database."""

from typing import Any

from sqlalchemy import Engine, text

from app.embedded.waiting import wait_until

DRAIN_SECONDS = 900
# Two partial indexes hold what is unfinished, so that the answer costs the same however long the history is.
BACKLOG = """
SELECT (SELECT count(*) FROM runs WHERE worker_id IS NULL AND wake_at IS NOT NULL)
     + (SELECT count(*) FROM runs WHERE worker_id IS NOT NULL)
"""


def scalar(engine: Engine, query: str, **values: Any) -> Any:
    """Return the one value that a query finds."""
    with engine.connect() as connection:
        return connection.execute(text(query), values).scalar_one()


def backlog(engine: Engine) -> int:
    """Return how many runs are queued, waiting for a time or in flight."""
    return int(scalar(engine, BACKLOG))


def finished(engine: Engine) -> int:
    """Return how many runs have succeeded."""
    return int(scalar(engine, "SELECT count(*) FROM runs WHERE status = 'succeeded'"))


def settled(engine: Engine) -> None:
    """Wait until every run has ended."""
    if not wait_until(lambda: backlog(engine) == 0, DRAIN_SECONDS):
        raise SystemExit(f"runs are unfinished after {DRAIN_SECONDS} s")
    left = scalar(engine, "SELECT count(*) FROM runs WHERE finished_at IS NULL")
    if left:
        raise SystemExit(f"{left} runs are neither finished nor due")
