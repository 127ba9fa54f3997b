"""Cancel runs whose steps wait for them no longer: the step, or its run, has ended without them."""

from collections.abc import Callable

from sqlalchemy import Engine

from app.core.clock import Clock
from app.engine.children import store
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Control

BATCH = 100
REASON = "The step that waited for it ended without it."


def cancel_abandoned(engine: Engine, clock: Clock, cancelled: Callable[[int], None]) -> int:
    """Cancel abandoned runs with those that they wait for; returns how many waits are done with.

    `cancelled` is told how many runs each commit has cancelled.

    Each in a transaction of its own, and its wait is forgotten only afterwards: nobody is kept from locking a parent first.
    """
    with engine.begin() as connection:
        found = store.FIND_ABANDONED.run(connection, batch=BATCH)
    for row in found:
        control = Control("cancel", "engine", clock.now(), REASON)
        with engine.begin() as connection:
            ended = cancel_runs(connection, [row.child_run_id], control)
        cancelled(len(ended))
        with engine.begin() as connection:
            store.FORGET_ABANDONED.run(
                connection, run_id=row.run_id, path=row.path, attempt=row.attempt
            )
    return len(found)
